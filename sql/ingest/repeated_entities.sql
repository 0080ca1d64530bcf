-- Adds to `faults` the items and users whose id an earlier row has.
INSERT INTO faults
SELECT file_id, ccf_row, 'id' AS field, id AS value, 'is repeated: the first row counts' AS reason, false AS kept
FROM entities
WHERE id IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY input, id ORDER BY file_id, ccf_row) > 1;
