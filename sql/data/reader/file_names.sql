-- Returns (path): the files of one input.
-- $input
SELECT path FROM files WHERE input = $input ORDER BY file_id;
