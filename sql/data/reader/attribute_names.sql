-- Returns (name): every attribute that any item has.
SELECT DISTINCT pair.key AS name
FROM (SELECT unnest(pairs) AS pair FROM good_entities WHERE input = 'items')
ORDER BY name;
