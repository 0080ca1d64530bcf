-- The ids of the users of the assembly in the order of rows: (user_id).
SELECT user_id FROM assembly.users ORDER BY user_row;
