-- Item ids that stand in the catalogue more than once, at most three.
SELECT item_id FROM assembly.items GROUP BY item_id HAVING count(*) > 1 ORDER BY item_id LIMIT 3;
