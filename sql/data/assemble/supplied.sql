-- Table `assembly.supplied`: the candidates that are supplied for the date, once a user and item;
-- `item_row` is NULL where the catalogue lacks the item, `strength` where the files give none.
--   $candidates  glob of the date's Parquet files
CREATE OR REPLACE TABLE assembly.supplied AS
WITH lines AS (
    SELECT * FROM read_parquet($candidates, union_by_name = true)
    UNION ALL BY NAME
    SELECT NULL::VARCHAR AS source, NULL::DOUBLE AS strength WHERE false
)
SELECT
    user_id, item_row, coalesce(min(source), 'supplied') AS source, max(strength)::DOUBLE AS strength,
    any_value(available) AS available
FROM lines LEFT JOIN assembly.items USING (item_id)
WHERE user_id IS NOT NULL
GROUP BY user_id, item_id, item_row;
