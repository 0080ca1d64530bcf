-- Temporary table `filled`: popular items for the users of one shard who have fewer candidates than
-- they may have, most popular first. For a user who must skip s items all that are needed are among
-- the first (needed + s) places.
--   $shard     the shard
--   $per_user  candidates a user
CREATE OR REPLACE TEMP TABLE filled AS
WITH members AS (
    SELECT user_row FROM assembly.users WHERE shard = $shard
),
offered AS (
    SELECT user_row, count(*) AS n
    FROM assembly.offers SEMI JOIN members USING (user_row)
    WHERE left_out IS NULL
    GROUP BY user_row
),
short AS (
    SELECT user_row, $per_user - coalesce(offered.n, 0) - coalesce(len(covisited.items), 0) AS needed
    FROM members
    LEFT JOIN offered USING (user_row)
    LEFT JOIN covisited USING (user_row)
    WHERE needed > 0
),
skipped AS (
    SELECT user_row, item_row FROM taken SEMI JOIN short USING (user_row)
    UNION
    SELECT user_row, unnest(items) FROM covisited SEMI JOIN short USING (user_row)
),
places AS (
    SELECT user_row, needed, unnest(range(1, 1 + least(
        needed + count(skipped.item_row), (SELECT count(*) FROM assembly.popular)
    ))) AS place
    FROM short LEFT JOIN skipped USING (user_row)
    GROUP BY user_row, needed
)
SELECT user_row, list(item_row ORDER BY place)[:any_value(needed)] AS items
FROM places JOIN assembly.popular USING (place) ANTI JOIN skipped USING (user_row, item_row)
GROUP BY user_row;
