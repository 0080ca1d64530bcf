-- What `scored` holds: rows, rows whose pair nobody asks for, the lowest and the highest score.
-- Reads the Arrow table `asked` (place, user_id, item_id), ids as VARCHAR.
SELECT
    count(*) AS rows,
    count(*) - count(*) FILTER ((user_id, item_id) IN (SELECT (user_id, item_id) FROM asked)) AS unasked,
    min(score) AS low,
    max(score) AS high
FROM scored;
