-- Adds to `faults` the faults of `entities`.
INSERT INTO faults
SELECT file_id, ccf_row, 'fault' AS kind, f.field, f.value, f.reason, f.kept
FROM (SELECT file_id, ccf_row, unnest(faults) AS f FROM entities);
