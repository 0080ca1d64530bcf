-- Adds to `faults` the events whose item is in no row of items.
-- $field: the file's own name of the item's column; $reason
INSERT INTO faults
SELECT e.file_id, e.ccf_row, 'fault' AS kind, $field AS field, e.item_id AS value, $reason AS reason, false AS kept
FROM events AS e
ANTI JOIN good_entities AS i ON i.input = 'items' AND i.id = e.item_id
WHERE e.fault IS NULL;
