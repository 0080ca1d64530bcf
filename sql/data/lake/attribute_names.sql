-- Returns (name): every key that the attributes of some item have.
-- $files: Parquet files of items
SELECT DISTINCT unnest(map_keys(attributes)) AS name
FROM read_parquet($files)
ORDER BY name;
