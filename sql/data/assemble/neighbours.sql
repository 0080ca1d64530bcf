-- Table `assembly.neighbours`: for each item the available items that the same users liked in the
-- window; `strength` is the number of these users. (Divided by popularity, as a cosine is, it found 20
-- to 37% fewer of the later likes on MovieLens and retail data.) Of each user the last `$likes`
-- different likes of the window count: otherwise a crawler with 5,000 makes 25 million pairs.
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
-- strength and item in one number: its maximum is the strongest, ties go to the smaller row
best AS (
    SELECT item_row, unnest(max((n << 31) | (2147483647 - neighbour), $neighbours)) AS key
    FROM both_ways SEMI JOIN (SELECT item_row AS neighbour FROM assembly.items WHERE available)
        USING (neighbour)
    GROUP BY item_row
)
SELECT item_row, (2147483647 - (key & 2147483647))::INTEGER AS neighbour, key >> 31 AS strength
FROM best;
