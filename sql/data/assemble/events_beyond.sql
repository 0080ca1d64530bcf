-- One row: the number of known interactions that come before the newest $per_user of their user.
--   $per_user  interactions of one user
--   $dislikes  true: likes and dislikes; false: likes alone
WITH users AS (
    SELECT count(*) AS events FROM assembly.events WHERE liked OR $dislikes GROUP BY user_row
)
SELECT coalesce(sum(events - $per_user), 0)::BIGINT AS n FROM users WHERE events > $per_user;
