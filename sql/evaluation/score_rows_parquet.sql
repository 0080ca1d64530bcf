-- Creates `given`: (row, user_id, item_id, score) of a Parquet file, ids as VARCHAR; `row` counts from 1.
--   $file  path, glob characters escaped
CREATE OR REPLACE TABLE given AS
SELECT file_row_number + 1 AS row, user_id::VARCHAR AS user_id, item_id::VARCHAR AS item_id, score
FROM read_parquet($file, file_row_number = true, hive_partitioning = false);
