-- Table `assembly.brought`, empty: no candidates are supplied for the date.
CREATE OR REPLACE TABLE assembly.brought AS
SELECT user_id, NULL::INTEGER AS item_row, NULL::VARCHAR AS source, NULL::BOOLEAN AS available
FROM assembly.known($interactions, NULL, NULL::TIMESTAMP)
LIMIT 0;
