-- Creates the view `good_entities`: the items and users without a fault that rejects their row.
CREATE VIEW good_entities AS
SELECT * EXCLUDE (faults)
FROM entities
ANTI JOIN (SELECT file_id, ccf_row FROM faults WHERE NOT kept) AS f USING (file_id, ccf_row);
