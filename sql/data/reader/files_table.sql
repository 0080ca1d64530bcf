-- Creates `files`: the files that are read. `header`: rows before the first data row; `parsed`: rows of
-- `source`.
CREATE TABLE files (file_id INTEGER, input VARCHAR, path VARCHAR, header INTEGER, parsed BIGINT);
