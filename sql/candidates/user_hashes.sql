-- Returns (hash) of each user of the assembly in the order of rows: a number that depends on the id alone.
SELECT tie AS hash FROM assembly.users ORDER BY user_row;
