-- Adds sampled negatives to `labelled`, whose rows are positives: for each of them up to `$negatives`
-- different items, drawn by popularity^0.75, that were available at its moment and that the user had
-- not taken by then. Draws are a function of the seed and the row, not of the order of rows.
--   $seed       what the draws depend on
--   $negatives  negatives a positive
--   $draws      draws a positive, of which the first that may be kept are kept
INSERT INTO labelled
WITH weights AS (
    SELECT
        item_row, available_from, available_to,
        sum(round(1000 * pow(count, 0.75))::UBIGINT) OVER (ORDER BY item_row)::UBIGINT AS upper
    FROM assembly.items
    WHERE count > 0
),
total AS (
    SELECT max(upper) AS weight FROM weights
),
draws AS (
    SELECT
        user_row, user_id, labelled.item_row AS positive, event_ts, draw,
        md5_number_lower(
            concat_ws('|', $seed, draw, epoch_us(event_ts), items.item_id, user_id)
        ) % weight AS point
    FROM labelled
    JOIN assembly.items USING (item_row)
    CROSS JOIN total
    CROSS JOIN range($draws) AS draws(draw)
),
drawn AS (
    SELECT user_row, user_id, positive, event_ts, item_row, min(draw) AS draw
    FROM draws ASOF JOIN weights ON point < upper
    WHERE coalesce(available_from <= event_ts, true) AND coalesce(event_ts < available_to, true)
    GROUP BY ALL
),
taken AS (
    SELECT user_row, item_row, min(event_ts) AS first_ts
    FROM assembly.events SEMI JOIN labelled USING (user_row)
    GROUP BY user_row, item_row
)
SELECT
    user_row, user_id, item_row, 0::TINYINT AS label, event_ts,
    NULL::TINYINT AS not_cold, NULL::INTEGER[] AS history
FROM drawn LEFT JOIN taken USING (user_row, item_row)
WHERE first_ts IS NULL OR first_ts > event_ts
QUALIFY row_number() OVER (PARTITION BY user_row, event_ts, positive ORDER BY draw) <= $negatives;
