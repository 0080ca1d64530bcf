-- DuckDB's version, as it goes into a manifest.
SELECT version() AS version;
