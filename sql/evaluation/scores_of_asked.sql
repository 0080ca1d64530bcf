-- The score of each asked row in the order of `place`, NULL where `scored` has none.
-- Reads the Arrow table `asked` (place, user_id, item_id), ids as VARCHAR.
WITH pairs AS (
    SELECT user_id, item_id, max(score) AS score FROM scored GROUP BY user_id, item_id
)
SELECT score FROM asked LEFT JOIN pairs USING (user_id, item_id) ORDER BY place;
