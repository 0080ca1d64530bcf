-- Writes synthetic interactions, hive-partitioned by date: 100 likes a user over 90 days; the item of
-- rank r of 20,000 with a probability of about 1/r (Zipf). The same rows every time.
--   $interactions  how many
--   $folder        where to
COPY (
    WITH draws AS (
        SELECT i // 100 AS user_id, md5_number_lower(i::VARCHAR) AS bits
        FROM range($interactions) AS t(i)
    ),
    events AS (
        SELECT
            user_id,
            least(20000, floor(exp((bits >> 32) / 4294967296.0 * ln(20001))))::BIGINT AS item_id,
            TIMESTAMP '2026-01-01' + to_seconds((bits & 4294967295)::BIGINT % (90 * 86400)) AS event_ts
        FROM draws
    )
    SELECT *, event_ts::DATE AS date FROM events
) TO $folder (FORMAT parquet, PARTITION_BY (date));
