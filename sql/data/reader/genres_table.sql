-- Creates `genres`: the genres of MovieLens-1M's movies by title, out of its movies.dat in `source`.
CREATE TABLE genres AS
SELECT title, any_value(genres) AS genres FROM source WHERE title IS NOT NULL GROUP BY title;
