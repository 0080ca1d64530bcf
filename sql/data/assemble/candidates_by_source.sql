-- The number of candidates by source: rows (source, n).
SELECT source, count(*) AS n FROM (SELECT unnest(source) AS source FROM assembly.groups) GROUP BY source ORDER BY ALL;
