-- instant(x, unit): the text x as a naive UTC timestamp; NULL where it is no timestamp.
-- A number is an epoch in `unit` (s, ms or us); anything else is ISO 8601.
CREATE OR REPLACE MACRO instant(x, unit) AS CASE
    WHEN try_cast(x AS DOUBLE) IS NULL THEN
        iso(x)
    WHEN try_cast(x AS DOUBLE) > 0
        AND try_cast(x AS DOUBLE) * CASE unit WHEN 's' THEN 1e6 WHEN 'ms' THEN 1e3 ELSE 1 END < 2.5e17
    THEN make_timestamp(CAST(
        try_cast(x AS DOUBLE) * CASE unit WHEN 's' THEN 1e6 WHEN 'ms' THEN 1e3 ELSE 1 END AS BIGINT))
END;
