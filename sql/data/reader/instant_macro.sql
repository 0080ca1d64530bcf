-- instant(x, unit): the text x as a naive UTC timestamp; NULL where it is no timestamp. Eight or fourteen
-- digits that are a date of these centuries are that date (20260501, 20260501101500): as an epoch they would
-- lie in 1970 or far from now. Any other number is an epoch in `unit` (s, ms, us or ns); anything else is
-- ISO 8601.
CREATE OR REPLACE MACRO instant(x, unit) AS CASE
    WHEN try_cast(x AS DOUBLE) IS NULL THEN iso(x)
    WHEN digits_of_date(x) <> '' THEN
        coalesce(try_strptime(digits_of_date(x), '%Y%m%d%H%M%S'), try_strptime(digits_of_date(x), '%Y%m%d'))
    WHEN unit = 'ns' AND try_cast(x AS HUGEINT) BETWEEN 1 AND 250000000000000000000 THEN
        make_timestamp(CAST(try_cast(x AS HUGEINT) // 1000 AS BIGINT))
    WHEN try_cast(x AS DOUBLE) > 0
        AND try_cast(x AS DOUBLE) * CASE unit WHEN 's' THEN 1e6 WHEN 'ms' THEN 1e3 WHEN 'us' THEN 1 ELSE 1e-3 END < 2.5e17
    THEN make_timestamp(CAST(
        try_cast(x AS DOUBLE) * CASE unit WHEN 's' THEN 1e6 WHEN 'ms' THEN 1e3 WHEN 'us' THEN 1 ELSE 1e-3 END AS BIGINT))
END;
