-- Creates `genres`, empty: nobody said where MovieLens-1M's movies are.
CREATE TABLE genres (title VARCHAR, genres VARCHAR);
