-- Temporary table `taken`: items that the candidate generators leave out for the users of one shard:
-- those that the users have seen, and those that are supplied for them.
--   $shard         the shard
--   $exclude_seen  whether what a user has interacted with is left out
CREATE OR REPLACE TEMP TABLE taken AS
WITH members AS (
    SELECT user_row FROM assembly.users WHERE shard = $shard
)
SELECT user_row, item_row FROM assembly.events SEMI JOIN members USING (user_row) WHERE $exclude_seen
UNION ALL
SELECT user_row, item_row FROM assembly.offers SEMI JOIN members USING (user_row) WHERE left_out IS NULL;
