-- One row: the median number of known events of the newest 28 dates that have any; NULL where none has.
SELECT median(events) AS events
FROM (
    SELECT count(*) AS events FROM assembly.events GROUP BY event_ts::DATE ORDER BY event_ts::DATE DESC LIMIT 28
);
