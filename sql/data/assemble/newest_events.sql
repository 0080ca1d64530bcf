-- Temporary table `newest_events`: the interactions that can be labelled rows, numbered from the newest: `age` among
-- all, and `like_age` among the likes, each from 1; NULL for a dislike.
--   $dislikes      true: likes and dislikes; false: likes alone
--   $exclude_seen  as in `labelled_events`
--   $per_user      rows of one user; the newest count
CREATE OR REPLACE TEMP TABLE newest_events AS
WITH of_users AS (
    SELECT user_row, item_row, liked, event_ts, position
    FROM assembly.labelled_events($dislikes, $exclude_seen)
    QUALIFY row_number() OVER (PARTITION BY user_row ORDER BY position DESC) <= $per_user
)
SELECT
    user_row, user_id, item_row, liked, event_ts,
    row_number() OVER (ORDER BY event_ts DESC, user_id, position DESC) AS age,
    CASE WHEN liked THEN
        row_number() OVER (PARTITION BY liked ORDER BY event_ts DESC, user_id, position DESC)
    END AS like_age
FROM of_users JOIN assembly.users USING (user_row);
