-- The first items of the users who are ranked here and on an earlier date, in one row: users, changed
-- (how many of them have another first item). Ids are compared as text: their type may have changed.
--   $ranked   Parquet files of the output, as a list
--   $earlier  Parquet files of the earlier output, as a list
WITH new AS (
    SELECT user_id::VARCHAR AS user_id, item_id::VARCHAR AS item
    FROM read_parquet($ranked, hive_partitioning = false)
    WHERE rank = 1
),
old AS (
    SELECT user_id::VARCHAR AS user_id, item_id::VARCHAR AS item
    FROM read_parquet($earlier, hive_partitioning = false)
    WHERE rank = 1
)
SELECT count(*) AS users, count(*) FILTER (new.item <> old.item) AS changed
FROM new JOIN old USING (user_id);
