-- Temporary table `negatives`: sampled negatives of the likes in `labelled`. For each like up to
-- `$negatives` different items, drawn by popularity^0.75, that were available at its moment and that the
-- user had not taken by then, liked or not. Draws are a function of the seed and the row, not of the order
-- of rows.
--   $seed       what the draws depend on
--   $negatives  negatives a like
--   $draws      draws a like, of which the first that may be kept are kept
CREATE OR REPLACE TEMP TABLE negatives AS
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
        user_row, user_id, labelled.item_row AS liked_item, event_ts, draw,
        md5_number_lower(
            concat_ws('|', $seed, draw, epoch_us(event_ts), items.item_id, user_id)
        ) % weight AS point
    FROM labelled
    JOIN assembly.items USING (item_row)
    CROSS JOIN total
    CROSS JOIN range($draws) AS draws(draw)
    WHERE label = 1
),
drawn AS (
    SELECT user_row, user_id, liked_item, event_ts, item_row, min(draw) AS draw
    FROM draws ASOF JOIN weights ON point < upper
    WHERE coalesce(available_from <= event_ts, true) AND coalesce(event_ts < available_to, true)
    GROUP BY ALL
),
taken AS (
    SELECT user_row, item_row, min(event_ts) AS first_ts
    FROM assembly.events SEMI JOIN labelled USING (user_row)
    GROUP BY user_row, item_row
)
SELECT user_row, user_id, liked_item, item_row, event_ts
FROM drawn LEFT JOIN taken USING (user_row, item_row)
WHERE first_ts IS NULL OR first_ts > event_ts
QUALIFY row_number() OVER (PARTITION BY user_row, event_ts, liked_item ORDER BY draw) <= $negatives;
