-- The users of one shard: user_row, in order.
--   $shard  the shard
SELECT user_row FROM assembly.users WHERE shard = $shard ORDER BY user_row;
