-- One row about `labelled`: the likes, those of them whose user had an earlier interaction with the item, and
-- the same of the other rows (likes, likes_before, others, others_before).
WITH first_taken AS (
    SELECT user_row, item_row, min(event_ts) AS first_ts
    FROM assembly.events SEMI JOIN labelled USING (user_row)
    GROUP BY user_row, item_row
)
SELECT
    count(*) FILTER (label = 1) AS likes,
    count(*) FILTER (label = 1 AND first_ts < event_ts) AS likes_before,
    count(*) FILTER (label = 0) AS others,
    count(*) FILTER (label = 0 AND first_ts < event_ts) AS others_before
FROM labelled LEFT JOIN first_taken USING (user_row, item_row);
