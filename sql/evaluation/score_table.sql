-- Creates `scored` from `given`: ids as the lake writes them (VARCHAR), score DOUBLE, NULL where the row
-- has none (empty or NaN); `fault` names the column that cannot be read, `value` is what it holds. A whole
-- number is one as it is written ('007', '1.0' and '1.6' are none).
--   $whole_users, $whole_items  whether these ids are whole numbers in the lake
CREATE OR REPLACE TABLE scored AS
WITH read AS (
    SELECT
        row,
        CASE WHEN NOT $whole_users OR try_cast(user_id AS BIGINT)::VARCHAR = user_id THEN user_id END AS user_key,
        CASE WHEN NOT $whole_items OR try_cast(item_id AS BIGINT)::VARCHAR = item_id THEN item_id END AS item_key,
        try_cast(score AS DOUBLE) AS number,
        user_id, item_id, score::VARCHAR AS score
    FROM given
),
judged AS (
    SELECT *, CASE
        WHEN user_key IS NULL THEN 'user_id'
        WHEN item_key IS NULL THEN 'item_id'
        WHEN score IS NOT NULL AND coalesce(isinf(number), true) THEN 'score'
    END AS fault
    FROM read
)
SELECT
    row, user_key AS user_id, item_key AS item_id,
    CASE WHEN NOT isnan(number) THEN number END AS score, fault,
    CASE fault WHEN 'user_id' THEN user_id WHEN 'item_id' THEN item_id WHEN 'score' THEN score END AS value
FROM judged;
