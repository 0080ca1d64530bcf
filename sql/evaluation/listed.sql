-- Table `listed`: the users of `published`, numbered from 0 in order of their id: (owner, user_id).
CREATE OR REPLACE TEMP TABLE listed AS
SELECT row_number() OVER (ORDER BY user_id) - 1 AS owner, user_id
FROM (SELECT DISTINCT user_id FROM published);
