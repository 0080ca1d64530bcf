-- The time of the last interaction, as `last_ts`; NULL where there is none.
--   $interactions  glob of the Parquet files
SELECT max(event_ts)::TIMESTAMP AS last_ts
FROM read_parquet($interactions, hive_partitioning = true, union_by_name = true);
