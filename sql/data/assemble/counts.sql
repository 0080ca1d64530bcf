-- Counts of an assembly, as rows (what, n): users, pairs, cold users, users without a candidate, users and
-- supplied candidates left out, by reason.
SELECT 'users' AS what, count(*) AS n FROM assembly.groups
UNION ALL
SELECT 'pairs', coalesce(sum(len(candidate)), 0) FROM assembly.groups
UNION ALL
SELECT 'cold_users', count(*) FILTER (likes = 0) FROM assembly.groups JOIN assembly.users USING (user_row)
UNION ALL
SELECT 'no_candidate', count(*) FROM (
    SELECT user_row FROM assembly.users WHERE shard IS NOT NULL
) ANTI JOIN assembly.groups USING (user_row)
UNION ALL
SELECT left_out, count(*) FROM assembly.users WHERE left_out IS NOT NULL GROUP BY left_out
UNION ALL
SELECT left_out, count(*) FROM assembly.offers WHERE left_out IS NOT NULL GROUP BY left_out;
