-- Returns (file): the file of the last interaction.
--   $interactions  glob of the Parquet files
SELECT filename AS file
FROM read_parquet($interactions, hive_partitioning = true, union_by_name = true, filename = true)
ORDER BY event_ts DESC NULLS LAST
LIMIT 1;
