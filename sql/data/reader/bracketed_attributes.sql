-- Returns (key): the attributes all of whose values in `source` stand in square or curly brackets.
-- $keys, $columns: attributes, and their columns in the table's order, before `ccf_absent`
WITH texts AS (
    SELECT list_value(*COLUMNS(lambda c: list_contains($columns::VARCHAR[], c) OR c = 'ccf_absent')) AS texts
    FROM source
),
named AS (
    SELECT unnest(list_zip($keys::VARCHAR[], texts[:len($keys)])) AS pair FROM texts
)
SELECT pair[1] AS key
FROM named
WHERE trimmed(pair[2]) IS NOT NULL
GROUP BY key
HAVING bool_and(regexp_matches(pair[2], '^\s*(\[.*\]|\{.*\})\s*$', 's'))
ORDER BY key;
