-- One row about `newest_events`: `events`, the known interactions; `offered`, those of them that can be labelled
-- rows; `of_users`, those among the newest of their user; `kept`, those among the newest of all; `users` of these.
--   $dislikes      true: likes and dislikes; false: likes alone
--   $exclude_seen  as in `labelled_events`
--   $newest        rows that are kept at least
--   $likes         rows are kept down to this many likes; NULL: all
WITH kept AS (
    SELECT user_row
    FROM newest_events
    WHERE age <= $newest
       OR $likes IS NULL
       OR age <= (SELECT max(age) FROM newest_events WHERE like_age <= $likes)
)
SELECT
    (SELECT count(*) FROM assembly.events WHERE liked OR $dislikes) AS events,
    (SELECT count(*) FROM assembly.labelled_events($dislikes, $exclude_seen)) AS offered,
    (SELECT count(*) FROM newest_events) AS of_users,
    count(*) AS kept,
    count(DISTINCT user_row) AS users
FROM kept;
