-- One row: the number of labelled rows of one split between two moments.
--   $examples  glob of the Parquet files of one split
--   $since     TIMESTAMP in naive UTC, included
--   $cutoff    TIMESTAMP in naive UTC, not included
SELECT count(*) AS n
FROM read_parquet($examples, union_by_name = true)
WHERE event_ts >= $since AND event_ts < $cutoff;
