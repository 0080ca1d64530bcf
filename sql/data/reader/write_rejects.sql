-- Writes the rejected rows, and those that were kept without one of their values, in the order of the
-- files.
-- $file
COPY (
    SELECT * FROM rejects ORDER BY input, file, row, field, value
) TO $file (FORMAT parquet, COMPRESSION zstd);
