-- Creates `labelled`: the columns of the papers' split beyond the interaction itself.
CREATE TABLE labelled (
    file_id INTEGER, ccf_row BIGINT, split VARCHAR, history VARCHAR[], not_cold TINYINT
);
