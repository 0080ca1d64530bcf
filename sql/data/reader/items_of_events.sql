-- Adds to `entities` every item of the events, without title or attributes: no file of items was named.
INSERT INTO entities
SELECT
    'items' AS input, 0 AS file_id, row_number() OVER (ORDER BY item_id) AS ccf_row, item_id AS id,
    NULL AS title, [] AS pairs, NULL AS available_from, NULL AS available_to, NULL AS updated_at, [] AS faults
FROM (SELECT DISTINCT item_id FROM events WHERE fault IS NULL);
