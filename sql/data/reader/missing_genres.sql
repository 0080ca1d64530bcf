-- Adds to `faults` the items of `source` whose title no movie has.
-- $file_id
INSERT INTO faults
SELECT
    $file_id, ccf_row, 'fault' AS kind, 'title' AS field, title AS value,
    'is no title in movies.dat: no genres' AS reason, true AS kept
FROM source
WHERE genres IS NULL;
