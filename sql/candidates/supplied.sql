-- Returns (user_row, item_row, strength, source) of the supplied candidates that are offered, in the order of
-- rows. The strength is 1 over the place among those of the user, the strongest first; equal ones share it.
SELECT
    user_row, item_row, source,
    (1 / rank() OVER (PARTITION BY user_row ORDER BY strength DESC NULLS LAST))::FLOAT AS strength
FROM assembly.offers
WHERE left_out IS NULL
ORDER BY user_row, item_row;
