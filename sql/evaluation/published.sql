-- Table `published`: the rows of a published night, (user_id, item_id, rank).
--   $ranked  glob of its Parquet files
CREATE OR REPLACE TEMP TABLE published AS
SELECT user_id, item_id, rank FROM read_parquet($ranked, hive_partitioning = false);
