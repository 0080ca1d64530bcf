-- The first pair of `scored` that has two scores, and how many such pairs there are:
-- (user_id, item_id, low, high, n); no row where there is none.
WITH pairs AS (
    SELECT user_id, item_id, min(score) AS low, max(score) AS high
    FROM scored
    GROUP BY user_id, item_id
    HAVING min(score) < max(score)
)
SELECT user_id, item_id, low, high, count(*) OVER () AS n FROM pairs ORDER BY user_id, item_id LIMIT 1;
