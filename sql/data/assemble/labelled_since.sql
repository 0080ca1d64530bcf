-- Temporary table `labelled`: the known interactions from a moment on, as labelled rows.
--   $since         TIMESTAMP in naive UTC
--   $dislikes      true: likes and dislikes; false: likes alone
--   $exclude_seen  as in `labelled_events`
CREATE OR REPLACE TEMP TABLE labelled AS
SELECT
    user_row, user_id, item_row, liked::TINYINT AS label, event_ts,
    NULL::TINYINT AS not_cold, NULL::INTEGER[] AS history
FROM assembly.labelled_events($dislikes, $exclude_seen) JOIN assembly.users USING (user_row)
WHERE event_ts >= $since;
