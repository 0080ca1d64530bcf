-- Adds a file to `files`, with the number of rows that `source` has of it.
-- $file_id, $input, $path, $header
INSERT INTO files
SELECT $file_id, $input, $path, $header, count(*) FROM source;
