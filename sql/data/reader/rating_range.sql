-- Returns (low, high): the lowest and the highest rating of the events without a fault, NULL where there
-- are none.
SELECT min(rating) AS low, max(rating) AS high FROM good_events WHERE rating IS NOT NULL;
