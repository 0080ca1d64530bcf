-- How many items could be recommended on the night: (items).
SELECT count(*) FILTER (available) AS items FROM assembly.items;
