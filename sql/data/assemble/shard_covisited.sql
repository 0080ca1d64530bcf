-- Temporary table `covisited`: for each user of `recent`, the items most co-visited with the
-- user's last likes, strongest first; ties go to the smaller `item_id`.
--   $likes     likes of a user to start from
--   $per_user  items a user
CREATE OR REPLACE TEMP TABLE covisited AS
WITH reached AS (
    SELECT user_row, neighbour AS item_row, least(sum(strength), 4294967295)::BIGINT AS strength
    FROM recent JOIN assembly.neighbours USING (item_row)
    WHERE age <= $likes
    GROUP BY ALL
),
-- strength and item in one number: its maximum is the strongest, ties go to the smaller row
best AS (
    SELECT user_row, max((strength << 31) | (2147483647 - item_row), $per_user) AS keys
    FROM reached ANTI JOIN taken USING (user_row, item_row)
    GROUP BY user_row
)
SELECT
    user_row,
    list_transform(keys, lambda key: (2147483647 - (key & 2147483647))::INTEGER) AS items
FROM best;
