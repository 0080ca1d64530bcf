-- Adds the rows of `source` to `events`, each with its first fault or none. Blanks around ids are trimmed.
-- $file_id; $user_id, $item_id, $event_ts, $rating, $label, $event_id, $ingested_ts: the file's own
-- column names, 'ccf_absent' for what it has not; $unit: of a numeric time; $now: naive UTC;
-- $integers: whether ids must be whole numbers
INSERT INTO events
WITH named AS (
    SELECT
        ccf_row,
        COLUMNS(lambda c: c = $user_id) AS user_id,
        COLUMNS(lambda c: c = $item_id) AS item_id,
        COLUMNS(lambda c: c = $event_ts) AS event_ts,
        COLUMNS(lambda c: c = $rating) AS rating,
        COLUMNS(lambda c: c = $label) AS label,
        COLUMNS(lambda c: c = $event_id) AS event_id,
        COLUMNS(lambda c: c = $ingested_ts) AS ingested_ts
    FROM source
),
valued AS (
    SELECT
        *,
        trimmed(user_id) AS user,
        trimmed(item_id) AS item,
        try_cast(rating AS DOUBLE) AS stars,
        CASE lower(label) WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE try_cast(label AS DOUBLE) END AS liked,
        instant_fault(event_ts, $unit, $now) AS event_fault,
        CASE WHEN ingested_ts IS NOT NULL THEN instant_fault(ingested_ts, $unit, $now) END AS ingested_fault
    FROM named
)
SELECT
    $file_id AS file_id,
    ccf_row,
    user AS user_id,
    item AS item_id,
    instant(event_ts, $unit) AS event_ts,
    stars AS rating,
    CASE WHEN liked IN (0, 1) THEN liked END AS label,
    event_id,
    instant(ingested_ts, $unit) AS ingested_ts,
    CASE
        WHEN user IS NULL THEN
            {'field': $user_id, 'value': user_id, 'reason': 'is empty'}
        WHEN item IS NULL THEN
            {'field': $item_id, 'value': item_id, 'reason': 'is empty'}
        WHEN $integers AND NOT regexp_full_match(user, '-?[0-9]{1,18}') THEN
            {'field': $user_id, 'value': user_id, 'reason': 'is no whole number'}
        WHEN $integers AND NOT regexp_full_match(item, '-?[0-9]{1,18}') THEN
            {'field': $item_id, 'value': item_id, 'reason': 'is no whole number'}
        WHEN event_fault IS NOT NULL THEN
            {'field': $event_ts, 'value': event_ts, 'reason': event_fault}
        WHEN $rating <> 'ccf_absent' AND rating IS NULL THEN
            {'field': $rating, 'value': rating, 'reason': 'is empty'}
        WHEN $rating <> 'ccf_absent' AND (stars IS NULL OR NOT isfinite(stars)) THEN
            {'field': $rating, 'value': rating, 'reason': 'is no number'}
        WHEN $label <> 'ccf_absent' AND (liked IS NULL OR liked NOT IN (0, 1)) THEN
            {'field': $label, 'value': label, 'reason': 'is neither 0 nor 1'}
        WHEN ingested_fault IS NOT NULL THEN
            {'field': $ingested_ts, 'value': ingested_ts, 'reason': ingested_fault}
    END AS fault
FROM valued;
