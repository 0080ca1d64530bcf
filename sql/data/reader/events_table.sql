-- Creates `events`: the parsed rows of interactions, ids still as text.
CREATE TABLE events (
    file_id INTEGER, ccf_row BIGINT, user_id VARCHAR, item_id VARCHAR, event_ts TIMESTAMP,
    rating DOUBLE, label TINYINT, event_id VARCHAR, ingested_ts TIMESTAMP,
    fault STRUCT(field VARCHAR, value VARCHAR, reason VARCHAR)
);
