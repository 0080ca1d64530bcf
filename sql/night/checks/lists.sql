-- Errors in the ranked lists, in one row: rows, users, long (users with more than k rows), gaps
-- (users whose ranks are not 1, 2, 3, …), twice (users with an item twice), scores (rows whose score
-- is not in [0, 1], or whose margin is not finite; both may be NULL where the row was not scored, and the
-- score in a night that is not calibrated).
--   $ranked  Parquet files of the output, as a list
--   $top_k   rows that a user may have
--   $calibrated  whether scored rows have a score
WITH lists AS (
    SELECT
        count(*) AS n,
        count(DISTINCT item_id) AS items,
        count(DISTINCT rank) AS ranks,
        min(rank) AS first,
        max(rank) AS last,
        count(*) FILTER (
            NOT coalesce(score BETWEEN 0 AND 1, reason <> 'scored' OR NOT $calibrated)
            OR NOT coalesce(isfinite(margin), reason <> 'scored')
        ) AS scores
    FROM read_parquet($ranked, hive_partitioning = false)
    GROUP BY user_id
)
SELECT
    coalesce(sum(n), 0)::BIGINT AS rows,
    count(*) AS users,
    count(*) FILTER (n > $top_k) AS long,
    count(*) FILTER (first <> 1 OR last <> n OR ranks <> n) AS gaps,
    count(*) FILTER (items <> n) AS twice,
    coalesce(sum(scores), 0)::BIGINT AS scores
FROM lists;
