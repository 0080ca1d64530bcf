-- The groups of `labelled` by `user_id`, then time: user_id, history, and the lists candidate, label,
-- event_ts, not_cold. A group is the longest run of a user's rows that share a history.
--   $history_length  items of a history; the newest are kept
WITH told AS (
    SELECT
        labelled.user_id, item_row, label, event_ts, not_cold,
        coalesce(labelled.history, moments.history, []) AS whole,
        whole[greatest(1, len(whole) - $history_length + 1):] AS history
    FROM labelled
    LEFT JOIN moments ON labelled.user_row = moments.user_row AND event_ts = moment
),
placed AS (
    SELECT
        *, row_number() OVER rows_of_user AS place,
        coalesce(history IS DISTINCT FROM lag(history) OVER rows_of_user, true) AS starts
    FROM told
    WINDOW rows_of_user AS (
        PARTITION BY user_id ORDER BY event_ts, len(whole), label DESC, item_row
    )
),
runs AS (
    SELECT *, count(*) FILTER (starts) OVER (PARTITION BY user_id ORDER BY place) AS run FROM placed
)
SELECT
    user_id, any_value(history) AS history,
    list(item_row ORDER BY place) AS candidate,
    list(label ORDER BY place) AS label,
    list(event_ts ORDER BY place) AS event_ts,
    list(not_cold ORDER BY place) AS not_cold
FROM runs
GROUP BY user_id, run
ORDER BY user_id, run;
