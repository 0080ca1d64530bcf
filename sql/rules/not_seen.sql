-- Removes items that the user had interacted with before the cut-off.
--   $exclude  all: those that the user had interacted with in any way; liked: those that the user had
--             liked; none: nothing is removed
DELETE FROM scored
WHERE $exclude <> 'none' AND rowid IN (
    WITH seen AS (
        SELECT DISTINCT user_row, item_row
        FROM assembly.events SEMI JOIN scored USING (user_row)
        WHERE liked OR $exclude = 'all'
    )
    SELECT scored.rowid FROM scored SEMI JOIN seen USING (user_row, item_row)
);
