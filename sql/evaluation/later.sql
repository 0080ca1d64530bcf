-- Table `later`: likes of the days from a date on, each user and item once: (user_id, item_id).
--   $interactions  glob of the Parquet files
--   $liked_above   as in `assembly.interactions`
--   $cutoff        TIMESTAMP in naive UTC at which the days begin
--   $until         TIMESTAMP in naive UTC at which they end
CREATE OR REPLACE TEMP TABLE later AS
SELECT DISTINCT user_id, item_id
FROM assembly.interactions($interactions, $liked_above)
WHERE liked AND event_ts >= $cutoff AND event_ts < $until
  AND date >= $cutoff::DATE AND date <= $until::DATE;
