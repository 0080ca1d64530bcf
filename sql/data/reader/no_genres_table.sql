-- Creates `genres`, empty: MovieLens-1M's movies are not given.
CREATE TABLE genres (title VARCHAR, genres VARCHAR);
