-- The first row of `scored` that cannot be read, and how many there are: (row, fault, value, n); no row
-- where there is none.
SELECT min(row) AS row, arg_min(fault, row) AS fault, arg_min(value, row) AS value, count(*) AS n
FROM scored
WHERE fault IS NOT NULL
HAVING count(*) > 0;
