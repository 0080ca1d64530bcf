-- Returns one row: the latest value of each of the columns. Reads all their rows.
-- $file: a Parquet file, glob characters escaped; $columns: names of columns that are times
SELECT max(COLUMNS(lambda c: list_contains($columns::VARCHAR[], c))::TIMESTAMP)
FROM read_parquet($file, hive_partitioning = false);
