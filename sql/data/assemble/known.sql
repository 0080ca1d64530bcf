-- Table macro `assembly.known(files, liked_above, cutoff)`: the interactions that were known at the
-- cut-off: those that had happened and, where rows have `ingested_ts`, had arrived.
--   cutoff  TIMESTAMP in naive UTC; the range is half-open
CREATE OR REPLACE MACRO assembly.known(files, liked_above, cutoff) AS TABLE
SELECT user_id, item_id, event_ts, event_id, ingested_ts, date, liked
FROM assembly.interactions(files, liked_above)
WHERE date <= cutoff::DATE  -- spares opening later files
  AND event_ts < cutoff
  AND coalesce(ingested_ts < cutoff, true);
