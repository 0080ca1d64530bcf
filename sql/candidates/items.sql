-- Returns (item_row, first_days, w0, w1, w2, w3, offered) of the items that existed at the cut-off, in the order
-- of rows: they had a known event, are said to have been available, or are supplied for the date. Days from the
-- first known event to the cut-off (NaN: none), likes since each of three moments and of all time, and whether it may be recommended.
--   $cutoff  TIMESTAMP in naive UTC; $starts  three TIMESTAMPs
WITH events AS (
    SELECT
        item_row, min(event_ts) AS first_event,
        count(*) FILTER (liked AND event_ts >= $starts[1]) AS w0,
        count(*) FILTER (liked AND event_ts >= $starts[2]) AS w1,
        count(*) FILTER (liked AND event_ts >= $starts[3]) AS w2,
        count(*) FILTER (liked) AS w3
    FROM assembly.events
    GROUP BY item_row
)
SELECT
    item_row,
    coalesce((epoch_us($cutoff::TIMESTAMP)::DOUBLE - epoch_us(first_event)) / 86.4e9, 'nan')::FLOAT AS first_days,
    coalesce(w0, 0) AS w0, coalesce(w1, 0) AS w1, coalesce(w2, 0) AS w2, coalesce(w3, 0) AS w3,
    available AS offered
FROM assembly.items LEFT JOIN events USING (item_row)
WHERE first_event IS NOT NULL OR coalesce(available_from < $cutoff, false)
    OR item_row IN (SELECT item_row FROM assembly.offers WHERE left_out IS NULL)
ORDER BY item_row;
