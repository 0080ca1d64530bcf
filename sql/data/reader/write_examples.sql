-- Writes the labelled rows of the papers' split, one folder a split, in the order of their files.
-- $folder
COPY (
    SELECT
        CAST(e.user_id AS BIGINT) AS user_id,
        CAST(e.item_id AS BIGINT) AS item_id,
        e.label,
        e.event_ts,
        CAST(l.history AS BIGINT[]) AS history,
        l.not_cold,
        l.split
    FROM good_events AS e
    JOIN labelled AS l USING (file_id, ccf_row)
    ORDER BY file_id, ccf_row
) TO $folder (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (split));
