-- The best rows of a few users, with titles: user_id, rank, item_id, title, score, source.
-- $ranked: Parquet files as published; $items: Parquet files of the items table;
-- $users: how many users; $rows: rows a user.
WITH shown AS (
    SELECT user_id
    FROM read_parquet($ranked)
    WHERE rank = 1
    -- any users will do; a hash selects the same ones every time
    ORDER BY md5(user_id::VARCHAR)
    LIMIT $users
)
SELECT
    ranked.user_id,
    ranked.rank,
    ranked.item_id,
    items.title,
    ranked.score,
    ranked.source
FROM read_parquet($ranked) AS ranked
JOIN shown ON shown.user_id = ranked.user_id
LEFT JOIN read_parquet($items) AS items ON items.item_id = ranked.item_id
WHERE ranked.rank <= $rows
ORDER BY ranked.user_id, ranked.rank
