-- Adds to `faults` the rows of items and users whose id another row has. A row that says the same as an
-- earlier one is a 'repeat'. Where rows disagree, the one of the greatest `updated_at` counts (a number, a
-- time or a text; without one the first row), and each other statement is a 'conflict'.
-- $item_id, $user_id: the files' own names of the columns; $rule: which row counts, in words
INSERT INTO faults
WITH named AS (
    SELECT * FROM entities WHERE id IS NOT NULL
),
copies AS (
    SELECT
        n.*,
        row_number() OVER (
            PARTITION BY input, id, title, pairs, available_from, available_to, updated_at
            ORDER BY file_id, ccf_row
        ) AS copy
    FROM named AS n
    SEMI JOIN (SELECT input, id FROM named GROUP BY ALL HAVING count(*) > 1) AS s USING (input, id)
),
judged AS (
    SELECT *, 'repeat' AS kind FROM copies WHERE copy > 1
    UNION ALL
    SELECT *, 'conflict' AS kind
    FROM copies
    WHERE copy = 1
    QUALIFY row_number() OVER (
        PARTITION BY input, id
        ORDER BY
            try_cast(updated_at AS DOUBLE) DESC NULLS LAST, iso(updated_at) DESC NULLS LAST,
            updated_at DESC NULLS LAST, file_id, ccf_row
    ) > 1
)
SELECT
    file_id, ccf_row, kind,
    CASE input WHEN 'items' THEN $item_id ELSE $user_id END AS field, id AS value,
    CASE kind WHEN 'repeat' THEN 'is repeated: one row counts' ELSE $rule END AS reason,
    false AS kept
FROM judged;
