-- Returns (name, correlation, items): numeric attributes that rank the items as their events of all time
-- do, by Spearman's correlation (equal values share the mean of their ranks).
-- $numeric: names of attributes; $limit: correlations above it are returned; $items: fewest items with a value
WITH counts AS (
    SELECT item_id AS id, count(*) AS events FROM good_events GROUP BY item_id
),
given AS (
    SELECT pair.key AS name, id, try_cast(pair.parts[1] AS DOUBLE) AS value
    FROM (SELECT id, unnest(pairs) AS pair FROM good_entities WHERE input = 'items')
    WHERE list_contains($numeric::VARCHAR[], pair.key)
),
ranked AS (
    SELECT
        name,
        rank() OVER (PARTITION BY name ORDER BY value)
            + (count(*) OVER (PARTITION BY name, value) - 1) / 2 AS value_rank,
        rank() OVER (PARTITION BY name ORDER BY coalesce(events, 0))
            + (count(*) OVER (PARTITION BY name, coalesce(events, 0)) - 1) / 2 AS events_rank
    FROM given LEFT JOIN counts USING (id)
)
SELECT name, corr(value_rank, events_rank) AS correlation, count(*) AS items
FROM ranked
GROUP BY name
HAVING count(*) >= $items AND corr(value_rank, events_rank) > $limit
ORDER BY name;
