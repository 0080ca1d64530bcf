-- Table `assembly.offers`: supplied candidates of the users to be scored; `left_out` is the reason why
-- one is not offered (brought_unknown_item, brought_unavailable, brought_seen).
--   $exclude_seen  whether what a user has interacted with is left out
CREATE OR REPLACE TABLE assembly.offers AS
WITH seen AS (
    SELECT DISTINCT user_row, item_row, true AS seen
    FROM assembly.events
    SEMI JOIN (SELECT user_row FROM assembly.users SEMI JOIN assembly.brought USING (user_id))
        USING (user_row)
)
SELECT
    user_row, brought.item_row, source,
    CASE
        WHEN brought.item_row IS NULL THEN 'brought_unknown_item'
        WHEN NOT available THEN 'brought_unavailable'
        WHEN $exclude_seen AND seen THEN 'brought_seen'
    END AS left_out
FROM assembly.brought
JOIN assembly.users USING (user_id)
LEFT JOIN seen USING (user_row, item_row)
WHERE shard IS NOT NULL;
