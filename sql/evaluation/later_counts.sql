-- How much was liked in the days after: (likes, users, listed, unlisted); `listed` counts users with a list,
-- `unlisted` those without one who had liked something before.
SELECT
    count(*) AS likes, count(DISTINCT user_id) AS users,
    count(DISTINCT user_id) FILTER (listed) AS listed,
    count(DISTINCT user_id) FILTER (NOT listed) AS unlisted
FROM later LEFT JOIN counted USING (user_id);
