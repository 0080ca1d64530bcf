-- Table `assembly.offers`: supplied candidates of the users to be scored; `left_out` is the reason why
-- one is not offered (supplied_unknown_item, supplied_unavailable, supplied_seen).
--   $exclude  all: what a user has interacted with is left out; liked: what they have liked; none: nothing
CREATE OR REPLACE TABLE assembly.offers AS
WITH seen AS (
    SELECT DISTINCT user_row, item_row, true AS seen
    FROM assembly.events
    SEMI JOIN (SELECT user_row FROM assembly.users SEMI JOIN assembly.supplied USING (user_id))
        USING (user_row)
    WHERE $exclude = 'all' OR ($exclude = 'liked' AND liked)
)
SELECT
    user_row, supplied.item_row, source, strength,
    CASE
        WHEN supplied.item_row IS NULL THEN 'supplied_unknown_item'
        WHEN NOT available THEN 'supplied_unavailable'
        WHEN seen THEN 'supplied_seen'
    END AS left_out
FROM assembly.supplied
JOIN assembly.users USING (user_id)
LEFT JOIN seen USING (user_row, item_row)
WHERE shard IS NOT NULL;
