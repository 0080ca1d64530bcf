-- The shards of the users to be scored, and the number of users in each: rows (shard, users).
SELECT shard, count(user_id) AS users
FROM range((SELECT coalesce(max(shard) + 1, 0) FROM assembly.users)) AS shards(shard)
LEFT JOIN assembly.users USING (shard)
GROUP BY shard
ORDER BY shard;
