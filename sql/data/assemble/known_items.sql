-- Returns (item_row), ascending, of the items that existed at the cut-off: they had a known event, or are said to
-- have been available.
--   $cutoff  TIMESTAMP in naive UTC
SELECT item_row
FROM assembly.items
WHERE count > 0 OR coalesce(available_from < $cutoff, false)
ORDER BY item_row;
