-- Returns (kind, ids, one, other): how many ids of users, and of items, differ from another one by case or
-- Unicode form only, with the first two of them. Ids that are whole numbers have neither.
WITH ids AS (
    SELECT 'users' AS kind, user_id AS id FROM good_events GROUP BY user_id
    UNION ALL
    SELECT 'items' AS kind, id FROM good_entities WHERE input = 'items'
),
alike AS (
    SELECT kind, count(*) AS ids, min(id) AS one, max(id) AS other
    FROM ids
    GROUP BY kind, lower(nfc_normalize(id))
    HAVING count(*) > 1
)
SELECT kind, sum(ids)::BIGINT AS ids, arg_min(one, one) AS one, arg_min(other, one) AS other
FROM alike
GROUP BY kind
ORDER BY kind DESC;
