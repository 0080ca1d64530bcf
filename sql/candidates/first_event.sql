-- One row: the moment of the first known event; NULL where there is none.
SELECT min(event_ts) AS first FROM assembly.events;
