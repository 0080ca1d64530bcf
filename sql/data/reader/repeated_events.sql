-- Adds to `faults` the events of which only one row can count: those of one event_id or, without one, of
-- one user, item and time. A row that says the same as an earlier one is a 'repeat'. Where rows disagree,
-- one counts and each other statement is a 'conflict': a like counts over its absence (label 1, then no
-- label), a rating over none, and of ratings the last in the order of files and rows. Of equal rows the
-- one that arrived first counts.
INSERT INTO faults
WITH keyed AS (
    SELECT
        *,
        CASE WHEN event_id IS NULL THEN user_id END AS key_user,
        CASE WHEN event_id IS NULL THEN item_id END AS key_item,
        CASE WHEN event_id IS NULL THEN event_ts END AS key_ts
    FROM good_events
),
-- the hash alone keeps this small: rows that share one by chance are told apart below
suspects AS (
    SELECT hash(event_id, key_user, key_item, key_ts) AS key
    FROM keyed
    GROUP BY key
    HAVING count(*) > 1
),
copies AS (
    SELECT
        k.*,
        row_number() OVER (
            statement ORDER BY ingested_ts NULLS FIRST, file_id, ccf_row
        ) AS copy,
        max({'file_id': file_id, 'ccf_row': ccf_row}) OVER statement AS last
    FROM keyed AS k
    SEMI JOIN suspects AS s ON s.key = hash(k.event_id, k.key_user, k.key_item, k.key_ts)
    WINDOW statement AS (
        PARTITION BY event_id, key_user, key_item, key_ts, user_id, item_id, event_ts, rating, label
    )
),
judged AS (
    SELECT *, 'repeat' AS kind FROM copies WHERE copy > 1
    UNION ALL
    SELECT *, 'conflict' AS kind
    FROM copies
    WHERE copy = 1
    QUALIFY row_number() OVER (
        PARTITION BY event_id, key_user, key_item, key_ts
        ORDER BY coalesce(label = 1, false) DESC, rating IS NOT NULL DESC, label IS NULL DESC, last DESC
    ) > 1
)
SELECT
    file_id, ccf_row, kind,
    CASE WHEN event_id IS NULL THEN 'user, item, time' ELSE 'event_id' END AS field,
    coalesce(event_id, concat_ws(', ', user_id, item_id, event_ts::VARCHAR)) AS value,
    CASE kind
        WHEN 'repeat' THEN 'is repeated: one row counts'
        ELSE 'another row of it says otherwise, and counts: a like over none, a rating over none, the last rating'
    END AS reason,
    false AS kept
FROM judged;
