-- Removes pairs without a margin: their prompt was over the budget and has no score. NaN would
-- otherwise rank first.
DELETE FROM scored WHERE margin IS NULL OR isnan(margin);
