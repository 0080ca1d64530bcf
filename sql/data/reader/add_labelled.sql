-- Adds to `labelled` the rows of `source` (one file of the papers' split): 0 in a history is padding.
-- $file_id; $split: train, valid or test
INSERT INTO labelled
SELECT
    $file_id, ccf_row, $split,
    list_filter(history, lambda i: i <> '0'),
    CAST(not_cold AS TINYINT)
FROM source;
