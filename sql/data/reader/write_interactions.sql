-- Writes interactions, one folder a date, in the order of time.
-- $folder; $user, $item: 'user_id' and 'item_id', or 'user_number' and 'item_number' where ids are
-- whole numbers; $optional: names of the optional columns that are there
COPY (
    WITH numbered AS (
        SELECT *, try_cast(user_id AS BIGINT) AS user_number, try_cast(item_id AS BIGINT) AS item_number
        FROM good_events
    )
    SELECT
        COLUMNS(lambda c: c = $user) AS user_id,
        COLUMNS(lambda c: c = $item) AS item_id,
        COLUMNS(lambda c: c = 'event_ts' OR list_contains($optional::VARCHAR[], c)),
        CAST(event_ts AS DATE) AS date
    FROM numbered
    ORDER BY CAST(event_ts AS DATE), numbered.event_ts, file_id, ccf_row
) TO $folder (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (date));
