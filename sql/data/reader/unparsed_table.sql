-- Creates `unparsed`: rows that no reader could split into columns. `row` counts from 1, the header included.
CREATE TABLE unparsed (file_id INTEGER, row BIGINT, field VARCHAR, value VARCHAR, reason VARCHAR);
