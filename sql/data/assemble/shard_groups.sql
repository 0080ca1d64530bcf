-- Adds the groups of one shard to `assembly.groups`: all supplied candidates first, then co-visited
-- and popular ones up to the number a user may have. A user without a candidate has no group.
--   $shard           the shard
--   $history_length  items of a history
--   $per_user        candidates a user
INSERT INTO assembly.groups
WITH members AS (
    SELECT user_row FROM assembly.users WHERE shard = $shard
),
histories AS (
    SELECT user_row, list(item_row ORDER BY age DESC) AS items
    FROM recent
    WHERE age <= $history_length
    GROUP BY user_row
),
offered AS (
    SELECT user_row, list(item_row ORDER BY item_row) AS items, list(source ORDER BY item_row) AS source
    FROM assembly.offers SEMI JOIN members USING (user_row)
    WHERE left_out IS NULL
    GROUP BY user_row
),
lists AS (
    SELECT
        user_row,
        coalesce(histories.items, []) AS history,
        coalesce(offered.items, []) AS brought,
        coalesce(offered.source, []) AS brought_source,
        coalesce(covisited.items, []) AS covisited,
        coalesce(filled.items, []) AS popular
    FROM members
    LEFT JOIN histories USING (user_row)
    LEFT JOIN offered USING (user_row)
    LEFT JOIN covisited USING (user_row)
    LEFT JOIN filled USING (user_row)
)
SELECT
    $shard, user_row, history, brought, brought_source,
    covisited[:greatest(0, $per_user - len(brought))] AS covisited,
    popular
FROM lists
WHERE len(brought) + len(covisited) + len(popular) > 0;
