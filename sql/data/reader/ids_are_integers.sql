-- Returns (users, items): whether every user id, and every item id, is a whole number as it is written,
-- so that it can be kept as BIGINT ('007' can not).
SELECT
    (SELECT coalesce(bool_and(try_cast(user_id AS BIGINT)::VARCHAR IS NOT DISTINCT FROM user_id), true)
     FROM events WHERE fault IS NULL)
    AND (SELECT coalesce(bool_and(try_cast(id AS BIGINT)::VARCHAR IS NOT DISTINCT FROM id), true)
         FROM entities WHERE input = 'users' AND id IS NOT NULL) AS users,
    (SELECT coalesce(bool_and(try_cast(item_id AS BIGINT)::VARCHAR IS NOT DISTINCT FROM item_id), true)
     FROM events WHERE fault IS NULL)
    AND (SELECT coalesce(bool_and(try_cast(id AS BIGINT)::VARCHAR IS NOT DISTINCT FROM id), true)
         FROM entities WHERE input = 'items' AND id IS NOT NULL) AS items;
