-- The users of `counted` in the order of `owner`: (user_id).
SELECT user_id FROM counted ORDER BY owner;
