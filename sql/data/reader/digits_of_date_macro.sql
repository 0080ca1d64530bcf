-- digits_of_date(x): the digits of the text x where they may be a date without signs (YYYYMMDD or
-- YYYYMMDDHHMMSS, from 1900 to 2099; Parquet's doubles end in .0); else ''.
CREATE OR REPLACE MACRO digits_of_date(x) AS
    regexp_extract(x, '^((?:19|20)\d{6}(?:\d{6})?)(?:[.]0+)?$', 1);
