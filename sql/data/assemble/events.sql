-- Table `assembly.events`: the known interactions in rows of users and items. `position` puts a
-- user's events in their total order: by time, ties by `event_id`, else by a hash of the row
-- (of the user's and the item's id; tied rows of one item differ by being liked at most). Rows are
-- sorted by user, so that a query for a few users reads little.
--   $interactions  glob of the Parquet files
--   $liked_above   as in `interactions`
--   $cutoff        TIMESTAMP in naive UTC
CREATE OR REPLACE TABLE assembly.events AS
SELECT
    user_row, item_row, event_ts, liked,
    (row_number() OVER (
        PARTITION BY user_row
        ORDER BY event_ts, event_id NULLS FIRST, xor(users.tie, items.tie), item_row, liked
    ))::INTEGER AS position
FROM assembly.known($interactions, $liked_above, $cutoff)
JOIN assembly.items USING (item_id)
JOIN assembly.users USING (user_id)
ORDER BY user_row;
