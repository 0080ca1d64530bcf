-- Table `assembly.groups`, empty: one row a user to be scored, filled shard by shard by
-- `shard_groups`. Lists hold item rows: the history oldest first, candidates best first.
CREATE OR REPLACE TABLE assembly.groups (
    shard INTEGER,
    user_row INTEGER,
    history INTEGER[],
    brought INTEGER[],
    brought_source VARCHAR[],
    covisited INTEGER[],
    popular INTEGER[]
);
