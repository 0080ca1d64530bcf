-- Temporary table `scored`: the margins that the rules work on, one row a user and candidate.
-- Reads the Arrow table `margins` (user_id, item_row, margin, source).
CREATE OR REPLACE TEMP TABLE scored AS
SELECT user_row, user_id, item_row, margin::FLOAT AS margin, source::VARCHAR AS source, 'scored' AS reason
FROM margins JOIN assembly.users USING (user_id);
