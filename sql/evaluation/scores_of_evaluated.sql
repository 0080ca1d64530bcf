-- The score of each evaluated row in the order of `place`, NULL where `scored` has none.
-- Reads the Arrow table `evaluated` (place, user_id, item_id), ids as VARCHAR.
WITH pairs AS (
    SELECT user_id, item_id, max(score) AS score FROM scored GROUP BY user_id, item_id
)
SELECT score FROM evaluated LEFT JOIN pairs USING (user_id, item_id) ORDER BY place;
