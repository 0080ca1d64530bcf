-- parts(key, x, separator, nothing): the text x, a value of the attribute `key`, as a list of trimmed,
-- distinct, non-empty values in their order. Lists and structures that are written as text are read as such
-- (`structure_parts` is a function of `data.structures`). An empty separator: x is one value. What is in the
-- list `nothing` counts as empty.
CREATE OR REPLACE MACRO parts(key, x, separator, nothing) AS distinct_in_order(list_filter(
    list_transform(
        CASE
            WHEN x IS NULL THEN []
            WHEN regexp_matches(x, '^\s*(\[.*\]|\{.*\}|\(.*\))\s*$', 's') THEN coalesce(
                structure_parts(key, x),
                CASE WHEN separator = '' THEN [x] ELSE string_split(x, separator) END
            )
            WHEN separator = '' THEN [x]
            ELSE string_split(x, separator)
        END,
        lambda s: trim(s, E' \t\r\n')
    ),
    lambda s: s <> '' AND NOT list_contains(nothing, s)
));
