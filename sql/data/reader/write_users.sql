-- Writes users.
-- $file; $user: 'id', or 'number' where ids are whole numbers
COPY (
    WITH numbered AS (
        SELECT *, try_cast(id AS BIGINT) AS number FROM good_entities WHERE input = 'users'
    )
    SELECT COLUMNS(lambda c: c = $user) AS user_id, map_from_entries(pairs) AS attributes
    FROM numbered
    ORDER BY user_id
) TO $file (FORMAT parquet, COMPRESSION zstd);
