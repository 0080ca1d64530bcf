-- Table `interested`: how many users had interacted with each item before the night: (item_row, users).
CREATE OR REPLACE TEMP TABLE interested AS
SELECT item_row, count(DISTINCT user_row) AS users FROM assembly.events GROUP BY item_row;
