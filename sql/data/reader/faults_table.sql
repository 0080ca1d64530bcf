-- Creates `faults`: what is told of parsed rows. `ccf_row` counts the parsed rows of the file from 1;
-- `kind`: 'fault', 'repeat' (of a row that counts) or 'conflict' (with a row that counts);
-- `kept`: the row stays, and only the value is taken as missing.
CREATE TABLE faults (
    file_id INTEGER, ccf_row BIGINT, kind VARCHAR, field VARCHAR, value VARCHAR, reason VARCHAR, kept BOOLEAN
);
