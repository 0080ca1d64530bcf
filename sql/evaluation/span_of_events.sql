-- One row: the times of the first and the last known event of an item in the catalogue (`first`, `last`),
-- NULL where there is none.
--   $interactions  glob of the Parquet files
--   $liked_above   as in `interactions`
--   $cutoff        TIMESTAMP in naive UTC
SELECT min(event_ts) AS first, max(event_ts) AS last
FROM assembly.known($interactions, $liked_above, $cutoff) SEMI JOIN assembly.items USING (item_id);
