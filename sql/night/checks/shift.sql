-- How the margins (or scores) are distributed against those of an earlier date, down to the rank that both have, in
-- one row: psi (the population stability index over ten bins that hold a tenth of the earlier margins
-- each, fewer where margins are equal; half a row is added to every bin, so that an empty one is not
-- infinitely far), least (margins in the smaller of the two).
--   $ranked   Parquet files of the output, as a list
--   $earlier  Parquet files of the earlier output, as a list
--   $scores   whether scores are compared, as margins of two bundles have no common scale
WITH ranked AS (
    SELECT CASE WHEN $scores THEN score ELSE margin END AS margin, rank, 1 AS now
    FROM read_parquet($ranked, hive_partitioning = false)
    UNION ALL
    SELECT CASE WHEN $scores THEN score ELSE margin END, rank, 0
    FROM read_parquet($earlier, hive_partitioning = false)
),
depth AS (
    SELECT least(max(rank) FILTER (now = 1), max(rank) FILTER (now = 0)) AS depth FROM ranked
),
margins AS (
    SELECT margin, now FROM ranked CROSS JOIN depth WHERE rank <= depth AND margin IS NOT NULL
),
edges AS (
    SELECT list_distinct(
        quantile_disc(margin, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]) FILTER (now = 0)
    ) AS edges
    FROM margins
),
bins AS (
    SELECT sum(now) AS new, sum(1 - now) AS old
    FROM margins CROSS JOIN edges
    GROUP BY len(list_filter(edges, lambda edge: edge < margin))
),
shares AS (
    SELECT
        new, old,
        (new + 0.5) / (sum(new) OVER () + 0.5 * count(*) OVER ()) AS p,
        (old + 0.5) / (sum(old) OVER () + 0.5 * count(*) OVER ()) AS q
    FROM bins
)
SELECT sum((p - q) * ln(p / q)) AS psi, coalesce(least(sum(new), sum(old)), 0)::BIGINT AS least FROM shares;
