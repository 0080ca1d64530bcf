-- Returns nothing: from here on one thread, so that each date becomes one file and a rerun the same bytes.
SET threads = 1;
