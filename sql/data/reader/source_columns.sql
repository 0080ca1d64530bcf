-- Returns (name): the columns of `source` of one type, in their order.
-- $type: VARCHAR or VARCHAR[]
SELECT column_name AS name
FROM duckdb_columns()
WHERE table_name = 'source' AND data_type = $type
ORDER BY column_index;
