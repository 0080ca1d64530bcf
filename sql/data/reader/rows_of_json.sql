-- Creates `source`: the objects of `lines`, a column a key, every column VARCHAR; what is nested is its JSON
-- text. `ccf_row` leaves out the lines that are no object, as it leaves out rows that cannot be parsed.
-- $structure: JSON text of an object, key: 'VARCHAR'
CREATE OR REPLACE TABLE source AS
SELECT
    ccf_row, unnest(json_transform(line, $structure)),
    NULL::VARCHAR AS ccf_absent, NULL::VARCHAR[] AS ccf_absent_list
FROM (
    SELECT
        line_number - sum(CASE WHEN is_object THEN 0 ELSE 1 END) OVER (
            ORDER BY line_number ROWS UNBOUNDED PRECEDING
        )::BIGINT AS ccf_row,
        line, is_object
    FROM lines
)
WHERE is_object
ORDER BY ccf_row;
