-- One row: the number of known interactions from a moment on that are dislikes.
--   $since  TIMESTAMP in naive UTC
SELECT count(*) AS n FROM assembly.events WHERE event_ts >= $since AND NOT liked;
