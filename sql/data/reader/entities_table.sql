-- Creates `entities`: the parsed rows of items (input 'items') and users ('users'), ids still as text.
-- `updated_at`: what tells the newest of several rows of one id.
CREATE TABLE entities (
    input VARCHAR, file_id INTEGER, ccf_row BIGINT, id VARCHAR, title VARCHAR,
    pairs STRUCT(key VARCHAR, parts VARCHAR[])[], available_from TIMESTAMP, available_to TIMESTAMP,
    updated_at VARCHAR,
    faults STRUCT(field VARCHAR, value VARCHAR, reason VARCHAR, kept BOOLEAN)[]
);
