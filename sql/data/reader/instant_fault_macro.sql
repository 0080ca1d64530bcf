-- instant_fault(x, unit, now): the fault of the text x as a timestamp; NULL where it has none.
-- `now` NULL: the future and the years before 1970 are allowed. For a number of the wrong size the
-- fault names the unit that fits; one below 1e8 is no epoch of a time after March 1973 in any unit.
CREATE OR REPLACE MACRO instant_fault(x, unit, now) AS CASE
    WHEN x IS NULL THEN 'is empty'
    WHEN isinf(try_cast(x AS DOUBLE)) OR isnan(try_cast(x AS DOUBLE)) THEN
        'is no timestamp: write ISO 8601, or a number of the unit ingest.time_unit'
    WHEN try_cast(x AS DOUBLE) <= 0 THEN 'is not after 1970-01-01'
    WHEN digits_of_date(x) <> '' AND instant(x, unit) IS NULL THEN
        'looks like a date without dashes, but there is no such date'
    WHEN digits_of_date(x) <> '' THEN CASE
        WHEN now IS NOT NULL AND instant(x, unit) <= TIMESTAMP '1970-01-01' THEN 'is not after 1970-01-01'
        WHEN instant(x, unit) > now THEN 'lies in the future'
    END
    WHEN unit <> 'ns' AND try_cast(x AS DOUBLE) >= 1e17 THEN
        'looks like nanoseconds: set ingest.time_unit to ns'
    WHEN unit <> 'us' AND try_cast(x AS DOUBLE) >= 1e14 AND try_cast(x AS DOUBLE) < 1e17 THEN
        'looks like microseconds: set ingest.time_unit to us'
    WHEN unit <> 'ms' AND try_cast(x AS DOUBLE) >= 1e11 AND try_cast(x AS DOUBLE) < 1e14 THEN
        'looks like milliseconds: set ingest.time_unit to ms'
    WHEN unit <> 's' AND try_cast(x AS DOUBLE) >= 1e8 AND try_cast(x AS DOUBLE) < 1e11 THEN
        'looks like seconds: set ingest.time_unit to s'
    WHEN regexp_full_match(x, '(19|20)\d\d([.]0+)?') THEN
        'looks like a year: write a date, as in 2026-05-01'
    WHEN try_cast(x AS DOUBLE) BETWEEN 20000 AND 80000 THEN
        'looks like the number of a day in a spreadsheet: write a date, as in 2026-05-01 10:15:00'
    WHEN try_cast(x AS DOUBLE) < 1e8 THEN
        'is too small a number for a time: write ISO 8601, or the time since 1970 in ingest.time_unit'
    WHEN instant(x, unit) IS NULL THEN
        'is no timestamp: write ISO 8601, or a number of the unit ingest.time_unit'
    WHEN now IS NOT NULL AND instant(x, unit) <= TIMESTAMP '1970-01-01' THEN 'is not after 1970-01-01'
    WHEN instant(x, unit) > now THEN 'lies in the future'
END;
