-- Returns (night, groups): for windows of $days days before the cut-off, counted from 0, the newest, how many
-- users liked something in the window that a night at its beginning could have offered them, and had liked
-- something before it.
--   $cutoff  TIMESTAMP in naive UTC; $days; $nights  windows, at most
--   $exclude  all: what a user had taken is not offered again; liked: what the user had liked; none: all is
WITH placed AS (
    SELECT
        user_row, item_row, event_ts, liked,
        least(
            floor((epoch_us($cutoff::TIMESTAMP)::DOUBLE - epoch_us(event_ts) - 1) / ($days * 86.4e9)), 1e6
        )::INTEGER AS night
    FROM assembly.events
),
first_likes AS (
    SELECT user_row, max(night) AS first_night FROM placed WHERE liked GROUP BY user_row
),
pairs AS (
    SELECT
        user_row, item_row, night,
        max(max(night)) FILTER ($exclude = 'all' OR liked_here) OVER (PARTITION BY user_row, item_row) AS first_taken,
        liked_here
    FROM (
        SELECT user_row, item_row, night, bool_or(liked) AS liked_here
        FROM placed
        GROUP BY user_row, item_row, night
    )
    GROUP BY user_row, item_row, night, liked_here
)
SELECT night, count(DISTINCT user_row) AS groups
FROM pairs JOIN first_likes USING (user_row)
WHERE liked_here AND night < $nights AND first_night > night
    AND ($exclude = 'none' OR first_taken = night)
GROUP BY night
ORDER BY night;
