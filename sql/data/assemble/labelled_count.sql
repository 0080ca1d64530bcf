-- One row: the number of rows of `labelled`.
SELECT count(*) AS n FROM labelled;
