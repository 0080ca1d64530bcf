-- Creates `given`: (row, user_id, item_id, score) of a delimited text file with a header, all VARCHAR;
-- `row` counts from 1, the header too. A row that cannot be split is an error.
--   $file       path, glob characters escaped
--   $columns    struct of name: 'VARCHAR', all columns in their order
--   $delimiter  between columns
--   $compression  none, gzip or zstd
CREATE OR REPLACE TABLE given AS
SELECT row_number() OVER () + 1 AS row, user_id, item_id, score
FROM read_csv(
    $file, columns = $columns, delim = $delimiter, compression = $compression,
    auto_detect = false, header = true, quote = '"', escape = '"', null_padding = false
);
