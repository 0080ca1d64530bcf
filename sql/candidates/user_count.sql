-- One row: the number of users of the assembly.
SELECT count(*) AS users FROM assembly.users;
