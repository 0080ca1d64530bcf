-- Table macro `assembly.interactions(files, liked_above)`: every row of the interactions with the
-- optional columns filled in, and `liked` as the settings define it.
--   files        glob of the Parquet files, hive-partitioned by `date`
--   liked_above  a rating above it is a like; NULL: `label = 1`, or every row where there is no label
CREATE OR REPLACE MACRO assembly.interactions(files, liked_above) AS TABLE
WITH full_rows AS (
    SELECT * FROM read_parquet(
        files, hive_partitioning = true, union_by_name = true, hive_types = {'date': DATE}
    )
    UNION ALL BY NAME
    SELECT NULL::DOUBLE AS rating, NULL::TINYINT AS label,
           NULL::TIMESTAMP AS ingested_ts, NULL::VARCHAR AS event_id
    WHERE false
)
SELECT
    user_id, item_id, event_ts, event_id, ingested_ts, date,
    CASE
        WHEN rating IS NOT NULL AND liked_above IS NOT NULL THEN rating > liked_above
        WHEN label IS NOT NULL THEN label = 1
        ELSE true
    END AS liked
FROM full_rows
WHERE user_id IS NOT NULL AND item_id IS NOT NULL;
