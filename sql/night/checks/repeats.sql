-- How many of the last days' known events repeat another one: same user, item, time and event id
-- (none being equal to none).
--   $interactions  glob of the Parquet files
--   $since         TIMESTAMP at which the days begin
--   $cutoff        TIMESTAMP in naive UTC
WITH different AS (
    SELECT count(*) AS n
    FROM assembly.known($interactions, NULL, $cutoff)
    WHERE event_ts >= $since AND date >= $since::DATE - 1
    GROUP BY user_id, item_id, event_ts, event_id
)
SELECT coalesce(sum(n - 1), 0)::BIGINT AS repeats FROM different;
