-- One row: the number of users with a known interaction (`users`), and of the items that any of them took
-- (`items`), from which negatives are sampled.
SELECT count(DISTINCT user_row) AS users, count(DISTINCT item_row) AS items FROM assembly.events;
