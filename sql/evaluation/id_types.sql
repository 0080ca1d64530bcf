-- The types of ids as `published` and the lake have them: (name, published, lake); NULL where empty.
--   $interactions  glob of the Parquet files
SELECT
    'user_id' AS name,
    (SELECT typeof(user_id) FROM published LIMIT 1) AS published,
    (SELECT typeof(user_id) FROM read_parquet($interactions) LIMIT 1) AS lake
UNION ALL
SELECT
    'item_id',
    (SELECT typeof(item_id) FROM published LIMIT 1),
    (SELECT typeof(item_id) FROM assembly.items LIMIT 1);
