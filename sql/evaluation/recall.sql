-- The likes of the days after the cut-off by the source of the candidate: rows (source, likes),
-- each like (a user and an item) counted once, under its source or under why it was missed.
--   $interactions  glob of the Parquet files
--   $liked_above   as in `interactions`
--   $cutoff        TIMESTAMP in naive UTC at which the days begin
--   $until         TIMESTAMP in naive UTC at which they end
--   $exclude_seen  whether what a user had interacted with was left out
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
groups AS (
    SELECT * FROM assembly.groups SEMI JOIN placed USING (user_row)
),
offered AS (
    SELECT user_row, unnest(brought) AS item_row, 'brought' AS source FROM groups
    UNION ALL
    SELECT user_row, unnest(covisited), 'covisited' FROM groups
    UNION ALL
    SELECT user_row, unnest(popular), 'popular' FROM groups
),
seen AS (
    SELECT DISTINCT user_row, item_row, true AS seen
    FROM assembly.events SEMI JOIN placed USING (user_row)
)
SELECT
    CASE
        WHEN source IS NOT NULL THEN source
        WHEN shard IS NULL THEN 'missed: user not scored'
        WHEN NOT available THEN 'missed: item not available'
        WHEN $exclude_seen AND seen THEN 'missed: seen before'
        ELSE 'missed: not a candidate'
    END AS source,
    count(*) AS likes
FROM placed
LEFT JOIN offered USING (user_row, item_row)
LEFT JOIN seen USING (user_row, item_row)
GROUP BY ALL;
