-- Adds to `faults` the events that an earlier row has already: the same event_id or, without one, the
-- same user, item and time.
INSERT INTO faults
WITH by_id AS (
    SELECT event_id FROM good_events WHERE event_id IS NOT NULL GROUP BY ALL HAVING count(*) > 1
),
by_content AS (
    SELECT user_id, item_id, event_ts FROM good_events WHERE event_id IS NULL GROUP BY ALL HAVING count(*) > 1
),
repeated AS (
    SELECT
        file_id, ccf_row, 'event_id' AS field, event_id AS value,
        row_number() OVER (PARTITION BY event_id ORDER BY file_id, ccf_row) AS nth
    FROM good_events SEMI JOIN by_id USING (event_id)
    UNION ALL
    SELECT
        file_id, ccf_row, 'user, item, time' AS field,
        concat_ws(', ', user_id, item_id, event_ts::VARCHAR) AS value,
        row_number() OVER (PARTITION BY user_id, item_id, event_ts ORDER BY file_id, ccf_row) AS nth
    FROM good_events SEMI JOIN by_content USING (user_id, item_id, event_ts)
    WHERE event_id IS NULL
)
SELECT file_id, ccf_row, field, value, 'is repeated: the first row counts' AS reason, false AS kept
FROM repeated
WHERE nth > 1;
