-- One row: the moment of the oldest of the newest $events known events, at the earliest the year 1.
SELECT greatest(min(event_ts)::TIMESTAMP, TIMESTAMP '0001-01-01') AS start
FROM (SELECT event_ts FROM assembly.events ORDER BY event_ts DESC LIMIT $events);
