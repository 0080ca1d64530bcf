-- iso(x): the ISO 8601 text x as a naive UTC timestamp; NULL where it is no timestamp. A date alone is its
-- midnight; Z, UTC or an offset like +02:00 is applied, and without one UTC is meant. Taken apart here,
-- because a cast to TIMESTAMP may ignore an offset, and one to TIMESTAMPTZ reads what has none in the
-- session's zone.
CREATE OR REPLACE MACRO iso(x) AS
    try_cast(
        regexp_extract(x, '^(\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:[.]\d+)?)?)?) ?(?:Z|UTC|[+-]\d\d(?::?\d\d)?)?$', 1)
        AS TIMESTAMP
    ) - to_minutes(coalesce(
        CAST(regexp_extract(x, '([+-])\d\d:?(?:\d\d)?$', 1) || '1' AS BIGINT) * (
            60 * try_cast(regexp_extract(x, ':\d\d(?:[.]\d+)? ?[+-](\d\d):?(?:\d\d)?$', 1) AS BIGINT)
            + coalesce(try_cast(regexp_extract(x, ':\d\d(?:[.]\d+)? ?[+-]\d\d:?(\d\d)$', 1) AS BIGINT), 0)
        ),
        0
    ));
