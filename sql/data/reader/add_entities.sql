-- Adds the rows of `source` to `entities`, each with its faults.
-- Blanks around ids are trimmed.
-- $input: 'items' or 'users'; $file_id; $id, $title, $available_from, $available_to, $updated_at: the file's
-- own column names, 'ccf_absent' for what it has not; $unit: of a numeric time; $integers: whether ids must
-- be whole numbers; $keys, $columns, $separators: attributes, their columns (in the table's order, before
-- `ccf_absent`), the character that separates their values or ''; $list_keys, $list_columns: the same for columns that are
-- lists; $numeric: attributes that must be numbers; $nothing: values that mean that there is none
INSERT INTO entities
WITH named AS (
    SELECT
        ccf_row,
        COLUMNS(lambda c: c = $id) AS id,
        trim(COLUMNS(lambda c: c = $title), E' \t\r\n') AS title,
        COLUMNS(lambda c: c = $available_from) AS available_from,
        COLUMNS(lambda c: c = $available_to) AS available_to,
        trimmed(COLUMNS(lambda c: c = $updated_at)) AS updated_at,
        list_value(*COLUMNS(lambda c: list_contains($columns::VARCHAR[], c) OR c = 'ccf_absent')) AS texts,
        list_value(*COLUMNS(lambda c: list_contains($list_columns::VARCHAR[], c) OR c = 'ccf_absent_list')) AS lists
    FROM source
),
paired AS (
    SELECT
        * EXCLUDE (texts, lists),
        pairs(
            $keys::VARCHAR[], texts[:len($keys)], $separators::VARCHAR[],
            $list_keys::VARCHAR[], lists[:len($list_keys)], $nothing::VARCHAR[]
        ) AS pairs
    FROM named
),
judged AS (
    SELECT
        *,
        list_filter(pairs, lambda p: list_contains($numeric::VARCHAR[], p.key)
            AND len(list_filter(p.parts, lambda s: NOT coalesce(isfinite(try_cast(s AS DOUBLE)), false))) > 0
        ) AS no_numbers
    FROM paired
)
SELECT
    $input AS input,
    $file_id AS file_id,
    ccf_row,
    trimmed(id) AS id,
    CASE WHEN title <> '' THEN title END AS title,
    list_filter(pairs, lambda p: NOT list_contains(no_numbers, p)) AS pairs,
    instant(available_from, $unit) AS available_from,
    instant(available_to, $unit) AS available_to,
    updated_at,
    list_filter(list_concat(
        [
            CASE
                WHEN trimmed(id) IS NULL THEN
                    {'field': $id, 'value': id, 'reason': 'is empty', 'kept': false}
                WHEN $integers AND NOT regexp_full_match(trimmed(id), '-?[0-9]{1,18}') THEN
                    {'field': $id, 'value': id, 'reason': 'is no whole number', 'kept': false}
            END,
            CASE WHEN $input = 'items' AND coalesce(title, '') = '' THEN
                {'field': CASE WHEN $title = 'ccf_absent' THEN 'title' ELSE $title END,
                 'value': title, 'reason': 'is empty', 'kept': true}
            END,
            CASE WHEN available_from IS NOT NULL AND instant_fault(available_from, $unit, NULL) IS NOT NULL THEN
                {'field': $available_from, 'value': available_from,
                 'reason': instant_fault(available_from, $unit, NULL), 'kept': true}
            END,
            CASE WHEN available_to IS NOT NULL AND instant_fault(available_to, $unit, NULL) IS NOT NULL THEN
                {'field': $available_to, 'value': available_to,
                 'reason': instant_fault(available_to, $unit, NULL), 'kept': true}
            END
        ],
        list_transform(no_numbers, lambda p:
            {'field': p.key, 'value': array_to_string(p.parts, '|'),
             'reason': CASE
                 WHEN regexp_full_match(p.parts[1], '-?\d+([.]\d{3})*,\d+') THEN
                     'is no number: write the decimal comma as a point, as in 9.99'
                 ELSE 'is no number'
             END, 'kept': true})
    ), lambda f: f IS NOT NULL) AS faults
FROM judged;
