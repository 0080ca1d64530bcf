-- Writes rows [$first, $last) of synthetic interactions as CSV: 100 likes a user over 90 days, the item of
-- rank r of 20,000 with a probability of about 1/r (Zipf), one row in a hundred twice. The same rows every
-- time.
--   $first, $last; $columns: those that the file has, of user_id, item_id, event_ts, label and event_id
--   $file  where to
COPY (
    WITH draws AS (
        SELECT i, i // 100 AS user_number, md5_number_lower((i - (i % 100 = 99)::INTEGER)::VARCHAR) AS bits
        FROM range($first, $last) AS t(i)
    ),
    events AS (
        SELECT
            'user ' || user_number AS user_id,
            'item ' || least(20000, floor(exp((bits >> 32) / 4294967296.0 * ln(20001))))::BIGINT AS item_id,
            TIMESTAMP '2026-01-01' + to_seconds((bits & 4294967295)::BIGINT % (90 * 86400)) AS event_ts,
            1 AS label,
            'event ' || (i - (i % 100 = 99)::INTEGER) AS event_id
        FROM draws
    )
    SELECT COLUMNS(lambda c: list_contains($columns::VARCHAR[], c)) FROM events
) TO $file (FORMAT csv, HEADER);
