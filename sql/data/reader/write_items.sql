-- Writes items.
-- $file; $item: 'id', or 'number' where ids are whole numbers; $optional: names of the optional columns
-- that are there
COPY (
    WITH numbered AS (
        SELECT *, try_cast(id AS BIGINT) AS number FROM good_entities WHERE input = 'items'
    )
    SELECT
        COLUMNS(lambda c: c = $item) AS item_id,
        COLUMNS(lambda c: c = 'title' OR list_contains($optional::VARCHAR[], c)),
        map_from_entries(pairs) AS attributes
    FROM numbered
    ORDER BY item_id
) TO $file (FORMAT parquet, COMPRESSION zstd);
