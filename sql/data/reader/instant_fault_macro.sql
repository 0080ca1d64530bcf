-- instant_fault(x, unit, now): the fault of the text x as a timestamp; NULL where it has none.
-- `now` NULL: the future and the years before 1970 are allowed. For a number of the wrong size the
-- fault names the unit that fits.
CREATE OR REPLACE MACRO instant_fault(x, unit, now) AS CASE
    WHEN x IS NULL THEN 'is empty'
    WHEN isinf(try_cast(x AS DOUBLE)) OR isnan(try_cast(x AS DOUBLE)) THEN
        'is no timestamp: write ISO 8601, or a number of the unit ingest.time_unit'
    WHEN try_cast(x AS DOUBLE) <= 0 THEN 'is not after 1970-01-01'
    WHEN unit = 's' AND regexp_full_match(x, '(19|20)\d{6}') THEN
        'looks like a date without dashes: write it as 2026-05-01'
    WHEN unit <> 'us' AND try_cast(x AS DOUBLE) >= 1e14 THEN
        'looks like microseconds: set ingest.time_unit to us'
    WHEN unit = 's' AND try_cast(x AS DOUBLE) >= 1e11 THEN
        'looks like milliseconds: set ingest.time_unit to ms'
    WHEN unit = 'us' AND try_cast(x AS DOUBLE) < 1e14 AND try_cast(x AS DOUBLE) >= 1e11 THEN
        'looks like milliseconds: set ingest.time_unit to ms'
    WHEN unit <> 's' AND try_cast(x AS DOUBLE) < 1e11 THEN
        'looks like seconds: set ingest.time_unit to s'
    WHEN instant(x, unit) IS NULL THEN
        'is no timestamp: write ISO 8601, or a number of the unit ingest.time_unit'
    WHEN now IS NOT NULL AND instant(x, unit) <= TIMESTAMP '1970-01-01' THEN 'is not after 1970-01-01'
    WHEN instant(x, unit) > now THEN 'lies in the future'
END;
