-- What the users of `counted` liked in the days after and the catalogue has: (owner, item), item rows.
SELECT owner, item_row AS item
FROM later JOIN counted USING (user_id) JOIN assembly.items USING (item_id)
ORDER BY ALL;
