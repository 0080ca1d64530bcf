-- Returns one row: the largest value of each of the columns, as text. Reads all their rows.
-- $file: a Parquet file, glob characters escaped; $columns: names of columns
SELECT max(COLUMNS(lambda c: list_contains($columns::VARCHAR[], c))::VARCHAR)
FROM read_parquet($file, hive_partitioning = false);
