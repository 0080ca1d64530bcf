-- The schema that holds what is assembled; it is made anew for each cut-off.
CREATE SCHEMA IF NOT EXISTS assembly;
