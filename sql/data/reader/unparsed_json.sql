-- Adds to `unparsed` the rows of `lines` that are no JSON object. Lines that DuckDB could not read are in
-- `unparsed` already and not numbered in `lines`, so the k-th line moves down by those before it.
-- $file_id: number of the file in `files`
INSERT INTO unparsed
WITH unread AS (
    SELECT row - rank AS read_before, max(rank) AS rows
    FROM (SELECT row, row_number() OVER (ORDER BY row) AS rank FROM unparsed WHERE file_id = $file_id)
    GROUP BY read_before
)
SELECT
    $file_id AS file_id,
    l.line_number + coalesce(u.rows, 0) AS row,
    NULL AS field,
    l.line AS value,
    'row is no JSON object' AS reason
FROM lines AS l
ASOF LEFT JOIN unread AS u ON l.line_number > u.read_before
WHERE NOT l.is_object;
