-- Creates `files`: what is read. `header`: rows before the first data row; `parsed`: rows that came out.
CREATE TABLE files (file_id INTEGER, input VARCHAR, path VARCHAR, header INTEGER, parsed BIGINT);
