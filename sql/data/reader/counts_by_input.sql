-- Returns (input, read, rejected): rows of each input, and how many of them were left out.
WITH lost AS (
    SELECT input, count(*) AS rejected
    FROM (
        SELECT DISTINCT file_id, ccf_row, 'parsed' AS kind FROM faults WHERE NOT kept
        UNION ALL
        SELECT file_id, row, 'unparsed' AS kind FROM unparsed
    ) JOIN files USING (file_id)
    GROUP BY input
),
seen AS (
    SELECT f.input, sum(f.parsed) + sum(coalesce(u.rows, 0)) AS read
    FROM files AS f
    LEFT JOIN (SELECT file_id, count(*) AS rows FROM unparsed GROUP BY file_id) AS u USING (file_id)
    GROUP BY f.input
)
SELECT s.input, s.read::BIGINT AS read, coalesce(l.rejected, 0) AS rejected
FROM seen AS s LEFT JOIN lost AS l USING (input)
ORDER BY s.input;
