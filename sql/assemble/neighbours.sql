-- Table `assembly.neighbours`: for each item the available items that the same users liked in the
-- window, strongest first. `strength` is the cosine of the two items' users in units of 2^-20, an
-- integer, so that sums do not depend on the order of addition. A user counts with his last
-- `$likes` different likes of the window: else one crawler with 5,000 likes makes 25 million pairs.
--   $since       TIMESTAMP at which the window opens
--   $likes       likes of a user that count
--   $neighbours  neighbours kept an item
CREATE OR REPLACE TABLE assembly.neighbours AS
WITH likes AS (
    SELECT user_row, item_row
    FROM assembly.events
    WHERE liked AND event_ts >= $since
    GROUP BY user_row, item_row
    QUALIFY row_number() OVER (PARTITION BY user_row ORDER BY max(position) DESC) <= $likes
),
users AS (
    SELECT item_row, count(*) AS n FROM likes GROUP BY item_row
),
pairs AS (
    SELECT a.item_row AS a, b.item_row AS b, count(*) AS n
    FROM likes AS a JOIN likes AS b ON a.user_row = b.user_row AND a.item_row < b.item_row
    GROUP BY ALL
),
both_ways AS (
    SELECT a AS item_row, b AS neighbour, n FROM pairs
    UNION ALL
    SELECT b, a, n FROM pairs
),
strengths AS (
    SELECT
        both_ways.item_row, neighbour,
        round(1048576 * both_ways.n / sqrt(here.n * there.n))::BIGINT AS strength
    FROM both_ways
    JOIN users AS here ON here.item_row = both_ways.item_row
    JOIN users AS there ON there.item_row = neighbour
    JOIN assembly.items ON items.item_row = neighbour
    WHERE available
),
-- strength and item in one number: its maximum is the strongest, ties go to the smaller row
best AS (
    SELECT item_row, unnest(max((strength << 31) | (2147483647 - neighbour), $neighbours)) AS key
    FROM strengths
    GROUP BY item_row
)
SELECT item_row, (2147483647 - (key & 2147483647))::INTEGER AS neighbour, key >> 31 AS strength
FROM best;
