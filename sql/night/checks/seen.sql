-- How many ranked pairs are of an item that the user had interacted with before the cut-off.
--   $ranked   Parquet files of the output, as a list
--   $exclude  all, none: interacted with in any way; liked: liked
WITH ranked AS (
    SELECT user_row, item_row
    FROM read_parquet($ranked, hive_partitioning = false)
    JOIN assembly.users USING (user_id)
    JOIN assembly.items USING (item_id)
)
SELECT count(*) AS seen
FROM (
    SELECT DISTINCT user_row, item_row
    FROM assembly.events SEMI JOIN ranked USING (user_row, item_row)
    WHERE liked OR $exclude <> 'liked'
);
