-- What the rules left, ranked by margin, by (user_id, rank); ties go to the smaller `item_id`. The score is
-- the probability that belongs to the margin; NULL where the margins are not calibrated.
--   $scale, $bias  of the calibration; NULL: none
SELECT
    user_id, item_id,
    (row_number() OVER (PARTITION BY user_row ORDER BY margin DESC, item_row))::INTEGER AS rank,
    (1 / (1 + exp(-($scale::DOUBLE * margin + $bias::DOUBLE))))::FLOAT AS score,
    margin, source, reason
FROM scored JOIN assembly.items USING (item_row)
ORDER BY user_id, rank;
