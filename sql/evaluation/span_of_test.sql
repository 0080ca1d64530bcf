-- One row: the times of the first and the last row of a supplied test split whose item is in the
-- catalogue (`first`, `last`), NULL where there is none.
--   $examples  glob of its Parquet files
--   $cutoff    TIMESTAMP in naive UTC
SELECT min(event_ts) AS first, max(event_ts) AS last
FROM read_parquet($examples, union_by_name = true) SEMI JOIN assembly.items USING (item_id)
WHERE event_ts < $cutoff;
