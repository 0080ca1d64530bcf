-- parts(x, separator, nothing): the text x as a list of trimmed, distinct, non-empty values in their
-- order. An empty separator: x is one value. What is in the list `nothing` counts as empty.
CREATE OR REPLACE MACRO parts(x, separator, nothing) AS distinct_in_order(list_filter(
    list_transform(
        CASE WHEN x IS NULL THEN [] WHEN separator = '' THEN [x] ELSE string_split(x, separator) END,
        lambda s: trim(s, E' \t\r\n')
    ),
    lambda s: s <> '' AND NOT list_contains(nothing, s)
));
