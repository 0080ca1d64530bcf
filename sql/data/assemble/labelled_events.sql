-- Table macro `assembly.labelled_events(dislikes, exclude_seen)`: the known interactions that can be labelled
-- rows. One that repeats its user's earlier interaction with the item is none, whatever its label, where the
-- night would not offer that item again.
--   dislikes      true: likes and dislikes; false: likes alone
--   exclude_seen  all: an earlier interaction of any kind counts; liked: an earlier like; none: repeats are rows
CREATE OR REPLACE MACRO assembly.labelled_events(dislikes, exclude_seen) AS TABLE
WITH seen AS (
    SELECT user_row, item_row, min(position) AS first_position
    FROM assembly.events
    WHERE exclude_seen = 'all' OR (exclude_seen = 'liked' AND liked)
    GROUP BY user_row, item_row
)
SELECT user_row, item_row, liked, event_ts, position
FROM assembly.events LEFT JOIN seen USING (user_row, item_row)
WHERE (liked OR dislikes) AND coalesce(position <= first_position, true);
