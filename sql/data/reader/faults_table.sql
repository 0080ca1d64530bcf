-- Creates `faults`: the faults of parsed rows. `ccf_row` counts the parsed rows of the file from 1;
-- `kept`: the row stays, and only the value is taken as missing.
CREATE TABLE faults (
    file_id INTEGER, ccf_row BIGINT, field VARCHAR, value VARCHAR, reason VARCHAR, kept BOOLEAN
);
