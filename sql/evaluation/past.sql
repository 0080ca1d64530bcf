-- Mean popularity of each `counted` user's history before the night: (owner, users), the mean over its
-- items of how many users had interacted with them; users without a history have no row.
SELECT owner, avg(users) AS users
FROM (
    SELECT DISTINCT owner, item_row
    FROM counted JOIN assembly.users USING (user_id) JOIN assembly.events USING (user_row)
)
JOIN interested USING (item_row)
GROUP BY owner
ORDER BY owner;
