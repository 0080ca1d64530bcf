-- The groups of one shard by `user_id`: user_id, history, candidate (all sources, in order), and how
-- many of them are co-visited and popular; brought_source names the source of each supplied one before.
--   $shard  the shard
SELECT
    user_id, history,
    list_concat(brought, covisited, popular) AS candidate,
    brought_source, len(covisited) AS covisited, len(popular) AS popular
FROM assembly.groups JOIN assembly.users USING (user_row)
WHERE groups.shard = $shard
ORDER BY user_row;
