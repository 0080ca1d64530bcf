-- Creates `labelled`: what the papers' split says of a row beyond the interaction itself.
CREATE TABLE labelled (
    file_id INTEGER, ccf_row BIGINT, split VARCHAR, history VARCHAR[], not_cold TINYINT
);
