-- Replaces `source` (MovieLens-100K's u.item): its nineteen 0/1 columns become one, `genres`.
CREATE OR REPLACE TABLE source AS
SELECT
    ccf_row, item_id, title,
    concat_ws('|',
        CASE WHEN "unknown" = '1' THEN 'unknown' END,
        CASE WHEN "Action" = '1' THEN 'Action' END,
        CASE WHEN "Adventure" = '1' THEN 'Adventure' END,
        CASE WHEN "Animation" = '1' THEN 'Animation' END,
        CASE WHEN "Children's" = '1' THEN 'Children''s' END,
        CASE WHEN "Comedy" = '1' THEN 'Comedy' END,
        CASE WHEN "Crime" = '1' THEN 'Crime' END,
        CASE WHEN "Documentary" = '1' THEN 'Documentary' END,
        CASE WHEN "Drama" = '1' THEN 'Drama' END,
        CASE WHEN "Fantasy" = '1' THEN 'Fantasy' END,
        CASE WHEN "Film-Noir" = '1' THEN 'Film-Noir' END,
        CASE WHEN "Horror" = '1' THEN 'Horror' END,
        CASE WHEN "Musical" = '1' THEN 'Musical' END,
        CASE WHEN "Mystery" = '1' THEN 'Mystery' END,
        CASE WHEN "Romance" = '1' THEN 'Romance' END,
        CASE WHEN "Sci-Fi" = '1' THEN 'Sci-Fi' END,
        CASE WHEN "Thriller" = '1' THEN 'Thriller' END,
        CASE WHEN "War" = '1' THEN 'War' END,
        CASE WHEN "Western" = '1' THEN 'Western' END
    ) AS genres,
    ccf_absent, ccf_absent_list
FROM source;
