-- Removes from `labelled` the likes that have no row in `negatives`: beside no negative a like would teach
-- only that its user likes. Returns one row: the number removed.
DELETE FROM labelled
WHERE label = 1 AND NOT EXISTS (
    SELECT 1
    FROM negatives
    WHERE negatives.user_row = labelled.user_row
      AND negatives.liked_item = labelled.item_row
      AND negatives.event_ts = labelled.event_ts
);
