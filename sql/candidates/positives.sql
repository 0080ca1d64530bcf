-- Returns (user_row, item_row), once a pair, of the likes of [$start, $end) that were known at $cutoff, of users
-- who had liked something before the night, but for those that the night could not offer.
--   $interactions, $liked_above, $cutoff  as for `assembly.known`
--   $exclude  all: what a user had taken is not offered again; liked: what the user had liked; none: all is
SELECT DISTINCT users.user_row, items.item_row
FROM assembly.known($interactions, $liked_above, $cutoff) AS known
JOIN assembly.users USING (user_id)
JOIN assembly.items USING (item_id)
WHERE known.liked AND known.event_ts >= $start AND known.event_ts < $end AND users.likes > 0
    AND NOT EXISTS (
        SELECT 1
        FROM assembly.events
        WHERE events.user_row = users.user_row AND events.item_row = items.item_row
            AND ($exclude = 'all' OR ($exclude = 'liked' AND events.liked))
    )
ORDER BY ALL;
