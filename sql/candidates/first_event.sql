-- One row: the moment of the first known event, at the earliest the year 1; NULL where there is none.
SELECT CASE WHEN count(*) > 0 THEN greatest(min(event_ts)::TIMESTAMP, TIMESTAMP '0001-01-01') END AS first
FROM assembly.events;
