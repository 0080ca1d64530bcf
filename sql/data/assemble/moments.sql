-- Temporary table `moments`: for each user and moment of `labelled` that has no history of its own, the last
-- different likes strictly before the moment, oldest first. A strict cut by time excludes the rest of
-- a basket, which an order of rows would include. Where no item occurs more than r times among a
-- user's likes, any n x r of them hold at least n different items: that bounds the look back.
--   $history_length  items of a history
CREATE OR REPLACE TEMP TABLE moments AS
WITH asked AS (
    SELECT DISTINCT user_row, event_ts AS moment
    FROM labelled
    WHERE history IS NULL AND user_row IS NOT NULL
),
likes AS (
    SELECT
        user_row, item_row, event_ts,
        row_number() OVER (PARTITION BY user_row ORDER BY position) AS place
    FROM assembly.events SEMI JOIN asked USING (user_row)
    WHERE liked
),
repeats AS (
    SELECT user_row, max(n) AS most
    FROM (SELECT user_row, item_row, count(*) AS n FROM likes GROUP BY ALL)
    GROUP BY user_row
),
ticks AS (
    SELECT user_row, event_ts, max(place) AS last_place FROM likes GROUP BY user_row, event_ts
),
reach AS (
    SELECT asked.user_row, moment, last_place, most
    FROM asked
    ASOF JOIN ticks ON asked.user_row = ticks.user_row AND moment > ticks.event_ts
    JOIN repeats ON repeats.user_row = asked.user_row
),
looked_at AS (
    SELECT
        user_row, moment, last_place,
        unnest(range(1 + greatest(0, last_place - $history_length * most), last_place + 1)) AS place
    FROM reach
),
liked_again AS (
    SELECT
        user_row, item_row, place,
        lead(place) OVER (PARTITION BY user_row, item_row ORDER BY place) AS next_place
    FROM likes
),
latest AS (
    SELECT user_row, moment, item_row, place
    FROM looked_at JOIN liked_again USING (user_row, place)
    WHERE next_place IS NULL OR next_place > last_place
    QUALIFY row_number() OVER (PARTITION BY user_row, moment ORDER BY place DESC) <= $history_length
)
SELECT user_row, moment, list(item_row ORDER BY place) AS history
FROM latest
GROUP BY user_row, moment;
