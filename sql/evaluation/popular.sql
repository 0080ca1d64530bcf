-- Table `assembly.popular`: available items by how often they were liked in the window; `place`
-- counts from 1, ties go to the smaller `item_id`.
--   $since  TIMESTAMP at which the window opens
CREATE OR REPLACE TABLE assembly.popular AS
SELECT row_number() OVER (ORDER BY count(*) DESC, item_row) AS place, item_row
FROM assembly.events JOIN assembly.items USING (item_row)
WHERE liked AND available AND event_ts >= $since
GROUP BY item_row;
