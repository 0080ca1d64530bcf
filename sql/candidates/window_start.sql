-- One row: the moment of the oldest of the newest $events known events.
SELECT min(event_ts) AS start
FROM (SELECT event_ts FROM assembly.events ORDER BY event_ts DESC LIMIT $events);
