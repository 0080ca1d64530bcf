-- How many users had interacted with each item before the night, in the order of item rows: (users).
SELECT coalesce(interested.users, 0) AS users
FROM assembly.items LEFT JOIN interested USING (item_row)
ORDER BY item_row;
