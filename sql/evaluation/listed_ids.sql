-- The users of `listed` in the order of `owner`: (user_id).
SELECT user_id FROM listed ORDER BY owner;
