-- Creates `lines`: the lines of one file of JSON lines that are not blank, numbered from 1 in `line_number`,
-- and whether each is an object whose keys are all in $keys. Lines that are no text go to DuckDB's
-- `reject_errors` and are not numbered. Nothing is split: the delimiter is a character that no JSON has.
-- $file: path, glob characters escaped; $compression: none, gzip or zstd; $keys: those of all objects
CREATE OR REPLACE TABLE lines AS
WITH numbered AS (
    SELECT row_number() OVER () AS line_number, line
    FROM read_csv(
        $file,
        columns = {'line': 'VARCHAR'},
        auto_detect = false,
        delim = chr(1),
        quote = '',
        escape = '',
        header = false,
        compression = $compression,
        store_rejects = true,
        rejects_limit = 0
    )
)
SELECT
    line_number, line,
    CASE
        WHEN NOT json_valid(line) THEN false
        WHEN json_type(line) <> 'OBJECT' THEN false
        ELSE list_has_all($keys::VARCHAR[], json_keys(line))
    END AS is_object
FROM numbered
WHERE trim(line, E' \t\r') <> '';
