-- Writes the 20,000 items of the synthetic interactions.
--   $file  where to
COPY (
    SELECT
        i AS item_id, 'Item ' || i AS title,
        map {'genre': ['genre ' || i % 20]} AS attributes
    FROM range(1, 20001) AS t(i)
) TO $file (FORMAT parquet);
