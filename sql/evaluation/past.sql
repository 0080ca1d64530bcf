-- What each user of `listed` had interacted with before the night: (owner, users), the mean over these
-- items of how many users had; only users who had any.
SELECT owner, avg(users) AS users
FROM (
    SELECT DISTINCT owner, item_row
    FROM listed JOIN assembly.users USING (user_id) JOIN assembly.events USING (user_row)
)
JOIN interested USING (item_row)
GROUP BY owner
ORDER BY owner;
