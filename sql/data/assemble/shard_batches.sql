-- The groups of one shard by `user_id`: user_id, history, candidate, offset, source.
--   $shard  the shard
SELECT user_id, history, candidate, "offset", source
FROM assembly.groups JOIN assembly.users USING (user_row)
WHERE groups.shard = $shard
ORDER BY user_row;
