-- What a date with nobody to score has, in one row: first (time of the first event of the lake, known or
-- not), last (of the last known event), last_like (of the last known like of an available item). NULL: there
-- is none.
--   $interactions  glob of the Parquet files
SELECT
    (SELECT min(event_ts) FROM assembly.interactions($interactions, NULL))::VARCHAR AS first,
    (SELECT max(event_ts) FROM assembly.events)::TIMESTAMP AS last,
    (
        SELECT max(event_ts)
        FROM assembly.events JOIN assembly.items USING (item_row)
        WHERE liked AND available
    )::TIMESTAMP AS last_like;
