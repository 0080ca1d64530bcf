-- The catalogue in one row: available (items that may be recommended), untitled (how many of these
-- have no title, or one of blanks).
SELECT
    count(*) FILTER (available) AS available,
    count(*) FILTER (available AND coalesce(trim(title), '') = '') AS untitled
FROM assembly.items;
