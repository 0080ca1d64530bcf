-- Adds to `faults` what `add_events` found.
INSERT INTO faults
SELECT file_id, ccf_row, fault.field, fault.value, fault.reason, false AS kept
FROM events
WHERE fault IS NOT NULL;
