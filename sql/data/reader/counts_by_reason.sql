-- Returns (input, field, reason, kind, kept, rows, file, row, value): faults, repeats and conflicts by
-- their reason, those of items first, then the most frequent, each with its first occurrence.
SELECT
    input, field, reason, kind, kept, count(*) AS rows,
    arg_min(file, (file, row)) AS file, arg_min(row, (file, row)) AS row,
    arg_min(coalesce(value, ''), (file, row)) AS value
FROM rejects
GROUP BY input, field, reason, kind, kept
ORDER BY input = 'interactions', input, rows DESC, field, reason;
