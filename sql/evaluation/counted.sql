-- Table `counted`: the users who count, numbered from 0 in order of their id: (owner, user_id, listed). They
-- have a list (`listed`), or liked something before the night and something in the days after: whoever got
-- no list then got a bad one.
--   $interactions, $liked_above, $cutoff  as for `assembly.known`
CREATE OR REPLACE TEMP TABLE counted AS
SELECT row_number() OVER (ORDER BY user_id) - 1 AS owner, user_id, bool_or(listed) AS listed
FROM (
    SELECT DISTINCT user_id, true AS listed FROM published
    UNION ALL BY NAME
    SELECT DISTINCT user_id, false AS listed
    FROM assembly.known($interactions, $liked_above, $cutoff)
    SEMI JOIN assembly.items USING (item_id)
    SEMI JOIN later USING (user_id)
    WHERE liked
)
GROUP BY user_id;
