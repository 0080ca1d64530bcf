-- Table `popular_unseen`: for each user of `counted` the most popular items as of the night (see
-- `assembly.popular`), without what they are not offered again: (user_id, item_id, rank). A user who
-- must skip s items finds all that they need among the first ($top_k + s) places.
--   $top_k    rows a user
--   $exclude  all: what a user had interacted with is left out; liked: what they had liked; none: nothing
CREATE OR REPLACE TEMP TABLE popular_unseen AS
WITH skipped AS (
    SELECT DISTINCT owner, place
    FROM counted
    JOIN assembly.users USING (user_id)
    JOIN assembly.events USING (user_row)
    JOIN assembly.popular USING (item_row)
    WHERE CASE $exclude WHEN 'all' THEN true WHEN 'liked' THEN events.liked ELSE false END
),
places AS (
    SELECT owner, user_id, unnest(range(1, 1 + least(
        $top_k + count(skipped.place), (SELECT count(*) FROM assembly.popular)
    ))) AS place
    FROM counted LEFT JOIN skipped USING (owner)
    GROUP BY owner, user_id
)
SELECT user_id, item_id, (row_number() OVER (PARTITION BY owner ORDER BY place))::INTEGER AS rank
FROM places
JOIN assembly.popular USING (place)
JOIN assembly.items USING (item_row)
ANTI JOIN skipped USING (owner, place)
QUALIFY rank <= $top_k;
