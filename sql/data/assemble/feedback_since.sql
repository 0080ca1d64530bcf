-- One row: the number of known interactions from a moment on (`events`), and how many are likes (`likes`).
--   $since  TIMESTAMP in naive UTC
SELECT count(*) AS events, count(*) FILTER (liked) AS likes FROM assembly.events WHERE event_ts >= $since;
