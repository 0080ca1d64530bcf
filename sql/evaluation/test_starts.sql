-- The event_ts of the first row of a labelled test split.
--   $examples  glob of its Parquet files
SELECT min(event_ts) AS first FROM read_parquet($examples, union_by_name = true);
