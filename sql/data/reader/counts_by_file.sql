-- Returns (input, path, read, kept, repeated, conflicting, rejected): rows of each file, and what became of
-- them, in the order in which the files were read. A row has one fate: the first of rejected, conflicting,
-- repeated.
WITH fates AS (
    SELECT
        file_id, ccf_row,
        min(CASE kind WHEN 'fault' THEN 1 WHEN 'conflict' THEN 2 ELSE 3 END) AS fate
    FROM faults
    WHERE NOT kept
    GROUP BY file_id, ccf_row
),
counts AS (
    SELECT
        file_id,
        count(*) FILTER (fate = 1) AS rejected,
        count(*) FILTER (fate = 2) AS conflicting,
        count(*) FILTER (fate = 3) AS repeated
    FROM fates
    GROUP BY file_id
),
split AS (
    SELECT file_id, count(*) AS rows FROM unparsed GROUP BY file_id
)
SELECT
    f.input, f.path,
    f.parsed + coalesce(s.rows, 0) AS read,
    f.parsed - coalesce(rejected + conflicting + repeated, 0) AS kept,
    coalesce(repeated, 0) AS repeated,
    coalesce(conflicting, 0) AS conflicting,
    coalesce(rejected, 0) + coalesce(s.rows, 0) AS rejected
FROM files AS f
LEFT JOIN counts AS c USING (file_id)
LEFT JOIN split AS s USING (file_id)
ORDER BY f.file_id;
