-- Table `assembly.users`: all users with a known interaction or a supplied candidate. `left_out` is the
-- reason why a user is not scored (no_like, inactive, limit); others have a `shard`. Rows are numbered by
-- `user_id`, whatever the shards are; `tie` is a hash of the id.
--   $interactions  glob of the Parquet files
--   $liked_above   as in `interactions`
--   $cutoff        TIMESTAMP in naive UTC
--   $active_since  TIMESTAMP; only users with an event from then on are scored; NULL: all
--   $limit_users   score this many, chosen by hash; NULL: all
--   $shard_users   users a shard, about
CREATE OR REPLACE TABLE assembly.users AS
WITH known AS (
    SELECT user_id, count(*) FILTER (liked) AS likes, max(event_ts) AS last_ts
    FROM assembly.known($interactions, $liked_above, $cutoff) SEMI JOIN assembly.items USING (item_id)
    GROUP BY user_id
),
supplying AS (
    SELECT DISTINCT user_id, true AS supplied FROM assembly.supplied WHERE item_row IS NOT NULL
),
judged AS (
    SELECT
        user_id, coalesce(likes, 0) AS likes, md5_number_lower(user_id::VARCHAR) AS tie,
        CASE
            WHEN coalesce(likes, 0) = 0 AND supplied IS NULL THEN 'no_like'
            WHEN $active_since IS NOT NULL AND coalesce(last_ts < $active_since, true) THEN 'inactive'
        END AS left_out
    FROM known FULL JOIN supplying USING (user_id)
),
chosen AS (
    SELECT * REPLACE (
        CASE
            WHEN left_out IS NOT NULL THEN left_out
            WHEN row_number() OVER (PARTITION BY left_out ORDER BY tie, user_id)
                 > coalesce($limit_users, 9223372036854775807) THEN 'limit'
        END AS left_out
    )
    FROM judged
),
shards AS (
    SELECT greatest(1, ceil(count(*) FILTER (left_out IS NULL) / $shard_users))::UBIGINT AS n FROM chosen
),
sharded AS (
    SELECT user_id, likes, tie, left_out, CASE WHEN left_out IS NULL THEN (tie % n)::INTEGER END AS shard
    FROM chosen CROSS JOIN shards
)
SELECT
    (row_number() OVER (ORDER BY user_id) - 1)::INTEGER AS user_row,
    user_id, shard, left_out, likes, tie
FROM sharded;
