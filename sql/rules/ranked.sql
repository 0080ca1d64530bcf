-- What the rules left, ranked by margin, by (user_id, rank); ties go to the smaller `item_id`.
SELECT
    user_id, item_id,
    (row_number() OVER (PARTITION BY user_row ORDER BY margin DESC, item_row))::INTEGER AS rank,
    (1 / (1 + exp(-margin::DOUBLE)))::FLOAT AS score,
    margin, source, reason
FROM scored JOIN assembly.items USING (item_row)
ORDER BY user_id, rank;
