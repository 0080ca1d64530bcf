-- Creates the view `good_events`: the events without a fault so far.
CREATE VIEW good_events AS
SELECT * EXCLUDE (fault)
FROM events
ANTI JOIN (SELECT file_id, ccf_row FROM faults WHERE NOT kept) AS f USING (file_id, ccf_row);
