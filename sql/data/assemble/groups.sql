-- Table `assembly.groups`, empty: one row a user to be scored, filled shard by shard by `add_groups`.
-- Lists hold item rows: the history oldest first, candidates best first, each with the score of the
-- first stage and its source.
CREATE OR REPLACE TABLE assembly.groups (
    shard INTEGER,
    user_row INTEGER,
    history INTEGER[],
    candidate INTEGER[],
    "offset" FLOAT[],
    source VARCHAR[]
);
