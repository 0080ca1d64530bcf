-- Returns (input, field, reason, kept, rows, file, row, value): faults by their reason, the most
-- frequent first, each with its first occurrence.
SELECT
    input, field, reason, kept, count(*) AS rows,
    arg_min(file, (file, row)) AS file, arg_min(row, (file, row)) AS row,
    arg_min(coalesce(value, ''), (file, row)) AS value
FROM rejects
GROUP BY input, field, reason, kept
ORDER BY rows DESC, input, field, reason;
