-- Table `assembly.items`: the catalogue in order of `item_id`. `item_row` counts from 0, `available`
-- is as of the cut-off, `count` is the number of interactions known then, `first_event_ts` the time of the first, `tie` is a hash of the id.
--   $items         glob of the Parquet files
--   $interactions  glob of the Parquet files
--   $liked_above   as in `interactions`
--   $cutoff        TIMESTAMP in naive UTC
CREATE OR REPLACE TABLE assembly.items AS
WITH catalogue AS (
    SELECT * FROM read_parquet($items, union_by_name = true)
    UNION ALL BY NAME
    SELECT NULL::TIMESTAMP AS available_from, NULL::TIMESTAMP AS available_to WHERE false
),
counts AS (
    SELECT item_id, count(*) AS count, min(event_ts) AS first_event_ts
    FROM assembly.known($interactions, $liked_above, $cutoff)
    GROUP BY item_id
)
SELECT
    (row_number() OVER (ORDER BY item_id) - 1)::INTEGER AS item_row,
    item_id, title, attributes, available_from, available_to,
    coalesce(available_from <= $cutoff, true) AND coalesce($cutoff < available_to, true) AS available,
    coalesce(count, 0) AS count, first_event_ts,
    md5_number_lower(item_id::VARCHAR) AS tie
FROM catalogue LEFT JOIN counts USING (item_id);
