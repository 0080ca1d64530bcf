-- The newest $rows rows of `newest_events`: user_row, event_ts; the newest first.
--   $rows  rows
SELECT user_row, event_ts FROM newest_events WHERE age <= $rows ORDER BY age;
