-- Removes items that the user had interacted with before the cut-off.
--   $exclude_seen  false where people buy again: then nothing is removed
DELETE FROM scored
WHERE $exclude_seen AND rowid IN (
    WITH seen AS (
        SELECT DISTINCT user_row, item_row FROM assembly.events SEMI JOIN scored USING (user_row)
    )
    SELECT scored.rowid FROM scored SEMI JOIN seen USING (user_row, item_row)
);
