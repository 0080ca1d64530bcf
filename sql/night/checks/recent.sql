-- The events of the last days that were known at the cut-off, in one row: last (in the last 7 days),
-- before (in the days before those), unknown (of an item that the catalogue lacks), dated (saying when
-- they came in), late (more than a day after they had happened); and of the newest known event, which may
-- be further back: newest (its time, as text), stale (days from then to the cut-off). NULL: there is none.
--   $interactions  glob of the Parquet files
--   $since         TIMESTAMP at which the days begin
--   $week          TIMESTAMP at which the last 7 days begin
--   $cutoff        TIMESTAMP in naive UTC
WITH counted AS (
    SELECT
        count(*) FILTER (event_ts >= $week) AS last,
        count(*) FILTER (event_ts < $week) AS before,
        count(*) FILTER (item_row IS NULL) AS unknown,
        count(ingested_ts) AS dated,
        count(*) FILTER (ingested_ts > event_ts + INTERVAL 1 DAY) AS late,
        coalesce(max(event_ts), (SELECT max(event_ts) FROM assembly.events))::TIMESTAMP AS newest
    FROM assembly.known($interactions, NULL, $cutoff) LEFT JOIN assembly.items USING (item_id)
    WHERE event_ts >= $since
      AND date >= $since::DATE - 1  -- spares opening earlier files, whatever zone their dates are in
)
SELECT * REPLACE (newest::VARCHAR AS newest), (epoch($cutoff::TIMESTAMP) - epoch(newest)) / 86400 AS stale
FROM counted;
