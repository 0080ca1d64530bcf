-- What `scored` holds: rows, rows whose pair is not evaluated, the lowest and the highest score.
-- Reads the Arrow table `evaluated` (place, user_id, item_id), ids as VARCHAR.
SELECT
    count(*) AS rows,
    count(*) - count(*) FILTER ((user_id, item_id) IN (SELECT (user_id, item_id) FROM evaluated)) AS unmatched,
    min(score) AS low,
    max(score) AS high
FROM scored;
