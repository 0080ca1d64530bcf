-- Temporary table `labelled`: the newest rows of `newest_events` as labelled rows of one side.
--   $rows        rows of both sides
--   $valid_from  TIMESTAMP in naive UTC from which rows are validation
--   $valid       true: the validation side; false: the training side
CREATE OR REPLACE TEMP TABLE labelled AS
SELECT
    user_row, user_id, item_row, liked::TINYINT AS label, event_ts,
    NULL::TINYINT AS not_cold, NULL::INTEGER[] AS history
FROM newest_events
WHERE age <= $rows AND (event_ts >= $valid_from) = $valid;
