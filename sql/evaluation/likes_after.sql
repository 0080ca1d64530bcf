-- The likes of the days after the cut-off, each (a user and an item) once: rows (user_row, item_row, missed),
-- where `missed` is the reason why the night could not offer it; NULL: it could. Rows are NULL where the
-- night knew no such user or item.
--   $interactions  glob of the Parquet files
--   $liked_above   as in `interactions`
--   $cutoff        TIMESTAMP in naive UTC at which the days begin
--   $until         TIMESTAMP in naive UTC at which they end
--   $exclude       all: what a user had interacted with is left out; liked: what they had liked; none: nothing
WITH likes AS (
    SELECT DISTINCT user_id, item_id
    FROM assembly.interactions($interactions, $liked_above)
    WHERE liked AND event_ts >= $cutoff AND event_ts < $until
      AND date >= $cutoff::DATE AND date <= $until::DATE
),
placed AS (
    SELECT user_row, shard, item_row, coalesce(available, false) AS available
    FROM likes LEFT JOIN assembly.users USING (user_id) LEFT JOIN assembly.items USING (item_id)
),
seen AS (
    SELECT DISTINCT user_row, item_row, true AS seen
    FROM assembly.events SEMI JOIN placed USING (user_row)
    WHERE CASE $exclude WHEN 'all' THEN true WHEN 'liked' THEN liked ELSE false END
)
SELECT
    user_row, item_row,
    CASE
        WHEN shard IS NULL THEN 'user not scored'
        WHEN NOT available THEN 'item not available'
        WHEN seen THEN 'seen before'
    END AS missed
FROM placed LEFT JOIN seen USING (user_row, item_row)
ORDER BY ALL;
