-- One row: how many interactions are known (`events`), and whether feedback is `implicit`, which is
-- that every one of them is a like: there is nothing to tell a like from but what was not chosen.
SELECT count(*) AS events, count(*) FILTER (NOT liked) = 0 AS implicit FROM assembly.events;
