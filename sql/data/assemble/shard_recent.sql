-- Temporary table `recent`: the last different likes of the users of one shard; `age` counts from 1,
-- the newest. An item that was liked again stands at its last like.
--   $shard   the shard
--   $length  likes a user
CREATE OR REPLACE TEMP TABLE recent AS
SELECT user_row, item_row, row_number() OVER (PARTITION BY user_row ORDER BY max(position) DESC) AS age
FROM assembly.events
SEMI JOIN (SELECT user_row FROM assembly.users WHERE shard = $shard) USING (user_row)
WHERE liked
GROUP BY user_row, item_row
QUALIFY age <= $length;
