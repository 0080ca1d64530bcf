-- How much was liked in the days after: (likes, users, listed); `listed` counts users with a list.
SELECT count(*) AS likes, count(DISTINCT user_id) AS users, count(DISTINCT user_id) FILTER (owner IS NOT NULL) AS listed
FROM later LEFT JOIN listed USING (user_id);
