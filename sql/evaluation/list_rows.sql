-- The rows of both lists, by list, owner and rank: (list, owner, rank, hit, item, users); `hit`: it was
-- liked in the days after; `item`: its item row, -1 where the catalogue lacks it; `users`: how many had
-- interacted with it before the night.
SELECT
    list, owner, rank, later.item_id IS NOT NULL AS hit,
    coalesce(item_row, -1) AS item, coalesce(interested.users, 0) AS users
FROM (
    SELECT 'published' AS list, * FROM published
    UNION ALL BY NAME
    SELECT 'popular' AS list, * FROM popular_unseen
) AS lists
JOIN counted USING (user_id)
LEFT JOIN later USING (user_id, item_id)
LEFT JOIN assembly.items USING (item_id)
LEFT JOIN interested USING (item_row)
ORDER BY list, owner, rank;
