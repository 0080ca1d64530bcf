-- Replaces `source` (a file of the papers' split): every item that no earlier file had, once, at the
-- row where it comes first, with its genres by title.
CREATE OR REPLACE TABLE source AS
SELECT s.ccf_row, s.item_id, s.title, g.genres, NULL::VARCHAR AS ccf_absent, NULL::VARCHAR[] AS ccf_absent_list
FROM (
    SELECT min(ccf_row) AS ccf_row, item_id, arg_min(title, ccf_row) AS title
    FROM source
    GROUP BY item_id
) AS s
LEFT JOIN genres AS g USING (title)
ANTI JOIN (SELECT id FROM entities WHERE input = 'items') AS e ON e.id = s.item_id
ORDER BY s.ccf_row;
