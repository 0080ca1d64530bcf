-- How many ranked rows are of an item that is not available: the catalogue is read again, as it is now,
-- and compared with the cut-off. Items that it lacks are not available either.
--   $ranked  Parquet files of the output, as a list
--   $items   glob of the Parquet files
--   $cutoff  TIMESTAMP in naive UTC
WITH catalogue AS (
    SELECT * FROM read_parquet($items, union_by_name = true)
    UNION ALL BY NAME
    SELECT NULL::TIMESTAMP AS available_from, NULL::TIMESTAMP AS available_to WHERE false
)
SELECT count(*) AS hidden
FROM read_parquet($ranked, hive_partitioning = false)
ANTI JOIN (
    SELECT item_id
    FROM catalogue
    WHERE coalesce(available_from <= $cutoff, true) AND coalesce($cutoff < available_to, true)
) USING (item_id);
