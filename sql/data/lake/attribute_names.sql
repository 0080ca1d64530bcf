-- Returns (name): every key in the attributes of any item.
-- $files: Parquet files of items
SELECT DISTINCT unnest(map_keys(attributes)) AS name
FROM read_parquet($files)
ORDER BY name;
