-- Adds to `faults` the faults of `events`.
INSERT INTO faults
SELECT file_id, ccf_row, 'fault' AS kind, fault.field, fault.value, fault.reason, false AS kept
FROM events
WHERE fault IS NOT NULL;
