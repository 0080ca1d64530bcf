-- One row: how many interactions are known (`events`), and whether feedback is `implicit`, which is
-- that none of them says more than that it happened.
SELECT count(*) AS events, count(*) FILTER (labelled) = 0 AS implicit FROM assembly.events;
