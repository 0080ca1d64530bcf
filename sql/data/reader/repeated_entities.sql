-- Adds to `faults` the items and users whose id an earlier row has.
-- $item_id, $user_id: the files' own names of the columns
INSERT INTO faults
SELECT file_id, ccf_row, CASE input WHEN 'items' THEN $item_id ELSE $user_id END AS field, id AS value, 'is repeated: the first row counts' AS reason, false AS kept
FROM entities
WHERE id IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY input, id ORDER BY file_id, ccf_row) > 1;
