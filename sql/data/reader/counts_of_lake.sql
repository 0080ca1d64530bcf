-- Returns (events, users, items, seen, untitled, first, last) of the lake that is written. seen: items
-- with an event.
SELECT
    (SELECT count(*) FROM good_events) AS events,
    (SELECT count(DISTINCT user_id) FROM good_events) AS users,
    (SELECT count(*) FROM good_entities WHERE input = 'items') AS items,
    (SELECT count(DISTINCT item_id) FROM good_events) AS seen,
    (SELECT count(*) FROM good_entities WHERE input = 'items' AND title IS NULL) AS untitled,
    (SELECT min(event_ts) FROM good_events) AS first,
    (SELECT max(event_ts) FROM good_events) AS last;
