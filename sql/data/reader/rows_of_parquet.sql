-- Creates `source`: the rows of one Parquet file, numbered from 1 in `ccf_row`; every column VARCHAR but
-- those in $lists, which are VARCHAR[], and those in $nested, which are JSON as VARCHAR. `ccf_absent`,
-- `ccf_absent_list` and `ccf_absent_json` stand in for columns that it has not.
-- $file: path, glob characters escaped; $scalars, $lists, $nested: names of the columns
CREATE OR REPLACE TABLE source AS
SELECT
    file_row_number + 1 AS ccf_row,
    CAST(to_json(COLUMNS(lambda c: list_contains($nested::VARCHAR[], c) OR c = 'ccf_absent_json')) AS VARCHAR),
    CAST(COLUMNS(lambda c: list_contains($scalars::VARCHAR[], c) OR c = 'ccf_absent') AS VARCHAR),
    CAST(COLUMNS(lambda c: list_contains($lists::VARCHAR[], c) OR c = 'ccf_absent_list') AS VARCHAR[])
FROM (
    SELECT *, NULL::VARCHAR AS ccf_absent, NULL::VARCHAR[] AS ccf_absent_list, NULL::VARCHAR AS ccf_absent_json
    FROM read_parquet($file, file_row_number = true, hive_partitioning = false)
);
