-- The catalogue by item row: item_id, title, attributes, available, count.
SELECT item_id, title, attributes, available, count FROM assembly.items ORDER BY item_row;
