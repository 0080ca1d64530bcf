-- One row: the number of known interactions (`events`), and whether feedback is `implicit`: every
-- interaction is a like, so that negatives have to be sampled.
SELECT count(*) AS events, count(*) FILTER (NOT liked) = 0 AS implicit FROM assembly.events;
