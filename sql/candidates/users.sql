-- Returns (user_id, hash) of each user of the assembly in the order of rows; the hash depends on the id alone.
SELECT user_id, tie AS hash FROM assembly.users ORDER BY user_row;
