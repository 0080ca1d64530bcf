-- The schema of the assembled tables; their content is replaced for each cut-off.
CREATE SCHEMA IF NOT EXISTS assembly;
