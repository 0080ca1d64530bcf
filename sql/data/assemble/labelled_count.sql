-- How many rows `labelled` holds.
SELECT count(*) AS n FROM labelled;
