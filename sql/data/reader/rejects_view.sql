-- Creates the view `rejects`: every fault, repeat and conflict with its file, and its row there. In a text file a row is
-- numbered as an editor numbers lines, as long as no value spans several: the header and rows that
-- could not be parsed count too, so the k-th parsed row moves down by those before it.
CREATE VIEW rejects AS
WITH gaps AS (
    SELECT u.file_id, u.row - f.header - row_number() OVER (PARTITION BY file_id ORDER BY u.row) AS parsed_before
    FROM unparsed AS u JOIN files AS f USING (file_id)
),
shifts AS (
    SELECT
        file_id, parsed_before,
        CAST(sum(count(*)) OVER (PARTITION BY file_id ORDER BY parsed_before) AS BIGINT) AS rows
    FROM gaps
    GROUP BY file_id, parsed_before
),
located AS (
    SELECT x.* EXCLUDE (ccf_row), x.ccf_row + coalesce(s.rows, 0) AS data_row
    FROM faults AS x
    ASOF LEFT JOIN shifts AS s ON s.file_id = x.file_id AND x.ccf_row > s.parsed_before
)
SELECT f.input, f.path AS file, r.row, r.kind, r.field, left(r.value, 1000) AS value, r.reason, r.kept
FROM (
    SELECT l.file_id, l.data_row + f.header AS row, l.kind, l.field, l.value, l.reason, l.kept
    FROM located AS l JOIN files AS f USING (file_id)
    UNION ALL
    SELECT file_id, row, 'fault' AS kind, field, value, reason, false AS kept FROM unparsed
) AS r
JOIN files AS f USING (file_id);
