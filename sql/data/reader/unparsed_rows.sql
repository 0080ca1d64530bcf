-- Adds to `unparsed` the rows that the last `rows_of_csv` could not parse: one a row, with its number
-- in the file (a header counts) and the reader's message.
-- $file_id: number of the file in `files`; $file: its path as DuckDB names it
INSERT INTO unparsed
SELECT
    $file_id AS file_id,
    e.line AS row,
    any_value(e.column_name) AS field,
    any_value(e.csv_line) AS value,
    CASE any_value(e.error_type)
        WHEN 'MISSING COLUMNS' THEN 'row has too few columns'
        WHEN 'TOO MANY COLUMNS' THEN 'row has too many columns'
        WHEN 'UNQUOTED VALUE' THEN 'row has a quote that is not closed, or text after it: double quotes within a value'
        WHEN 'LINE SIZE OVER MAXIMUM' THEN 'row is too long'
        WHEN 'INVALID ENCODING' THEN 'row is not UTF-8: convert the file, as with iconv -f latin1 -t utf-8'
        ELSE any_value(e.error_message)
    END AS reason
FROM reject_errors AS e
JOIN reject_scans AS s USING (scan_id, file_id)
WHERE s.scan_id = (SELECT max(scan_id) FROM reject_scans WHERE file_path = $file)
GROUP BY e.line;
