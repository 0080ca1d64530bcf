"The SQL statements, one a file. This file makes the folder importable as `ccf_batch.sql`, in a checkout and in the wheel."
