-- Removes what is below the first k of a user by margin; ties go to the smaller `item_id`.
--   $top_k  rows kept a user
DELETE FROM scored
WHERE rowid IN (
    SELECT rowid
    FROM scored
    QUALIFY row_number() OVER (PARTITION BY user_row ORDER BY margin DESC, item_row) > $top_k
);
