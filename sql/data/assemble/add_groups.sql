-- Adds the groups of some users of one shard to `assembly.groups`.
-- Reads the Arrow table `found` (user_row, history, candidate, offset, source).
--   $shard  the shard
INSERT INTO assembly.groups
SELECT $shard, user_row, history, candidate, "offset", source FROM found;
