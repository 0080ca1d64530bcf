-- Writes what was rejected, and what was kept without one of its values, in the order of the files.
-- $file
COPY (
    SELECT * FROM rejects ORDER BY input, file, row, field, value
) TO $file (FORMAT parquet, COMPRESSION zstd);
