-- Temporary table `negatives`: sampled negatives of the likes in `labelled`. For each like up to
-- `$negatives` different items, drawn by popularity^0.75, that existed and were available at its moment, that the
-- user did not take at that moment, and that a night of that moment would offer. Draws are a function of the
-- seed and the row, not of the order of rows.
--   $seed          what the draws depend on
--   $negatives     negatives a like
--   $draws         draws a like, of which the first that may be kept are kept
--   $exclude_seen  all: no item that the user had taken by then, liked or not; liked: none that the user had
--                  liked by then; none: what the user had is drawn as anything else
CREATE OR REPLACE TEMP TABLE negatives AS
WITH weights AS (
    SELECT
        item_row, coalesce(available_from, first_event_ts) AS exists_from, available_to,
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
    WHERE exists_from <= event_ts AND coalesce(event_ts < available_to, true)
    GROUP BY ALL
),
taken_then AS (
    SELECT DISTINCT user_row, item_row, event_ts FROM assembly.events SEMI JOIN labelled USING (user_row, event_ts)
),
excluded AS (
    SELECT user_row, item_row, min(event_ts) AS excluded_from
    FROM assembly.events SEMI JOIN labelled USING (user_row)
    WHERE $exclude_seen = 'all' OR ($exclude_seen = 'liked' AND liked)
    GROUP BY user_row, item_row
)
SELECT user_row, user_id, liked_item, item_row, event_ts
FROM drawn
ANTI JOIN taken_then USING (user_row, item_row, event_ts)
LEFT JOIN excluded USING (user_row, item_row)
WHERE coalesce(excluded_from > event_ts, true)
QUALIFY row_number() OVER (PARTITION BY user_row, event_ts, liked_item ORDER BY draw) <= $negatives;
