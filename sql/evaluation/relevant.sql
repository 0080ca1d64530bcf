-- How many items each user of `counted` liked in the days after, in order of `owner`: (relevant).
SELECT count(item_id) AS relevant
FROM counted LEFT JOIN later USING (user_id)
GROUP BY owner
ORDER BY owner;
