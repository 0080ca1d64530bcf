-- Removes items that are not available as of publication: the catalogue is read again, as it is now,
-- and compared with the cut-off. An item that left the catalogue in between is removed too.
--   $items   glob of the Parquet files
--   $cutoff  TIMESTAMP in naive UTC
DELETE FROM scored
WHERE item_row NOT IN (
    WITH catalogue AS (
        SELECT * FROM read_parquet($items, union_by_name = true)
        UNION ALL BY NAME
        SELECT NULL::TIMESTAMP AS available_from, NULL::TIMESTAMP AS available_to WHERE false
    )
    SELECT item_row
    FROM assembly.items JOIN catalogue USING (item_id)
    WHERE coalesce(catalogue.available_from <= $cutoff, true)
      AND coalesce($cutoff < catalogue.available_to, true)
);
