-- Returns one row: the last of each of some columns, as text. Reads every one of their rows.
-- $file: a Parquet file, glob characters escaped; $columns: names of columns
SELECT max(COLUMNS(lambda c: list_contains($columns::VARCHAR[], c))::VARCHAR)
FROM read_parquet($file, hive_partitioning = false);
