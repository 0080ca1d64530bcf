-- Table `assembly.supplied`, empty: no candidates are supplied for the date.
CREATE OR REPLACE TABLE assembly.supplied AS
SELECT
    user_id, NULL::INTEGER AS item_row, NULL::VARCHAR AS source, NULL::DOUBLE AS strength,
    NULL::BOOLEAN AS available
FROM assembly.known($interactions, NULL, NULL::TIMESTAMP)
LIMIT 0;
