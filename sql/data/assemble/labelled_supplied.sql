-- Temporary table `labelled`: supplied labelled rows, with their own history (item rows, oldest first)
-- or NULL where they have none. Items that the catalogue lacks, and with them the zeros that pad the
-- histories of some data sets, are left out.
--   $examples  glob of the Parquet files of one split
--   $since     TIMESTAMP in naive UTC from which rows count
--   $cutoff    TIMESTAMP in naive UTC before which rows count
--   $newest    rows that are kept at least
--   $likes     rows are kept down to this many likes; NULL: all
CREATE OR REPLACE TEMP TABLE labelled AS
WITH lines AS (
    SELECT * FROM read_parquet($examples, union_by_name = true)
    UNION ALL BY NAME
    SELECT NULL::TINYINT AS not_cold, [NULL] AS history WHERE false
),
numbered AS (
    SELECT
        *,
        row_number() OVER (ORDER BY event_ts DESC, user_id, item_id) AS line,
        row_number() OVER (PARTITION BY label ORDER BY event_ts DESC, user_id, item_id) AS of_label
    FROM lines
    WHERE event_ts >= $since AND event_ts < $cutoff
),
newest AS (
    SELECT *
    FROM numbered
    WHERE line <= $newest
       OR $likes IS NULL
       OR line <= (SELECT max(line) FROM numbered WHERE label = 1 AND of_label <= $likes)
),
steps AS (
    SELECT line, unnest(history) AS item_id, generate_subscripts(history, 1) AS step FROM newest
),
histories AS (
    SELECT line, list(item_row ORDER BY step) AS items
    FROM steps JOIN assembly.items USING (item_id)
    GROUP BY line
)
SELECT
    user_row, newest.user_id, item_row, label::TINYINT AS label, event_ts,
    not_cold::TINYINT AS not_cold,
    CASE WHEN newest.history IS NOT NULL THEN coalesce(histories.items, []) END AS history
FROM newest
JOIN assembly.items USING (item_id)
LEFT JOIN assembly.users USING (user_id)
LEFT JOIN histories USING (line);
