-- Temporary table `labelled`: the newest known interactions as labelled rows. The last tenth of the
-- newest $newest is validation, and what lies before it training, back to the newest $rows; rows of
-- one moment are never on both sides.
--   $newest    rows of which the last tenth is validation
--   $rows      rows, both sides together; not fewer than $newest
--   $per_user  rows of one user, both sides together; the newest count
--   $dislikes  true: likes and dislikes; false: likes alone
--   $valid     true: the validation side; false: the training side
CREATE OR REPLACE TEMP TABLE labelled AS
WITH of_users AS (
    SELECT user_row, item_row, liked, event_ts, position
    FROM assembly.events
    WHERE liked OR $dislikes
    QUALIFY row_number() OVER (PARTITION BY user_row ORDER BY position DESC) <= $per_user
),
newest AS (
    SELECT
        user_row, user_id, item_row, liked, event_ts,
        row_number() OVER (ORDER BY event_ts DESC, user_id, position DESC) AS age
    FROM of_users JOIN assembly.users USING (user_row)
    QUALIFY age <= $rows
),
boundary AS (
    SELECT quantile_disc(event_ts, 0.9) AS valid_from FROM newest WHERE age <= $newest
)
SELECT
    user_row, user_id, item_row, liked::TINYINT AS label, event_ts,
    NULL::TINYINT AS not_cold, NULL::INTEGER[] AS history
FROM newest CROSS JOIN boundary
WHERE (event_ts >= valid_from) = $valid;
