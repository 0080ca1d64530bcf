-- Writes the 20,000 items of the synthetic interactions as CSV.
--   $file  where to
COPY (
    SELECT 'item ' || i AS item_id, 'Item ' || i AS title, 'genre ' || i % 20 AS genre
    FROM range(1, 20001) AS t(i)
) TO $file (FORMAT csv, HEADER);
