-- Temporary table `labelled`: the newest known interactions as labelled rows, of which the last tenth
-- is validation; rows of one moment are never on both sides.
--   $newest  rows, both sides together
--   $valid   true: the validation side; false: the training side
CREATE OR REPLACE TEMP TABLE labelled AS
WITH newest AS (
    SELECT user_row, user_id, item_row, liked, event_ts
    FROM assembly.events JOIN assembly.users USING (user_row)
    ORDER BY event_ts DESC, user_id, position DESC
    LIMIT $newest
),
boundary AS (
    SELECT quantile_disc(event_ts, 0.9) AS valid_from FROM newest
)
SELECT
    user_row, user_id, item_row, liked::TINYINT AS label, event_ts,
    NULL::TINYINT AS not_cold, NULL::INTEGER[] AS history
FROM newest CROSS JOIN boundary
WHERE (event_ts >= valid_from) = $valid;
