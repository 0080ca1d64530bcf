-- Returns (user_row, item_row, n, likes, last_days, first_days, last_like) of each user and item with a known
-- event, in the order of rows: how many events, how many of them likes, days from the last and from the
-- first of them to the cut-off, and the place of the last like among all events of the user (0: no like).
--   $cutoff  TIMESTAMP in naive UTC
SELECT
    user_row, item_row,
    count(*)::INTEGER AS n,
    count(*) FILTER (liked)::INTEGER AS likes,
    ((epoch_us($cutoff::TIMESTAMP)::DOUBLE - epoch_us(max(event_ts))) / 86.4e9)::FLOAT AS last_days,
    ((epoch_us($cutoff::TIMESTAMP)::DOUBLE - epoch_us(min(event_ts))) / 86.4e9)::FLOAT AS first_days,
    coalesce(max(position) FILTER (liked), 0)::INTEGER AS last_like
FROM assembly.events
GROUP BY user_row, item_row
ORDER BY user_row, item_row;
