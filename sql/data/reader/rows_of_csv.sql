-- Creates `source`: the rows of one delimited text file, every column VARCHAR, empty as NULL, numbered
-- from 1 in `ccf_row`; `ccf_absent` and `ccf_absent_list` stand in for columns that it has not. Rows
-- that cannot be parsed go to DuckDB's `reject_errors`.
-- $file: path, glob characters escaped; $columns: struct of name: 'VARCHAR'; $delimiter; $quote: or '';
-- $header: whether the first row is one; $encoding; $compression: none, gzip or zstd
CREATE OR REPLACE TABLE source AS
SELECT row_number() OVER () AS ccf_row, *, NULL::VARCHAR AS ccf_absent, NULL::VARCHAR[] AS ccf_absent_list
FROM read_csv(
    $file,
    columns = $columns,
    auto_detect = false,
    delim = $delimiter,
    quote = $quote,
    escape = $quote,
    header = $header,
    encoding = $encoding,
    compression = $compression,
    null_padding = false,
    store_rejects = true,
    rejects_limit = 0
);
