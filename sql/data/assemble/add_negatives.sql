-- Adds the rows of `negatives` to `labelled`, with label 0.
INSERT INTO labelled
SELECT
    user_row, user_id, item_row, 0::TINYINT AS label, event_ts,
    NULL::TINYINT AS not_cold, NULL::INTEGER[] AS history
FROM negatives;
