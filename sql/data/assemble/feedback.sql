-- One row: the number of known interactions (`events`), and how many of them are likes (`likes`).
SELECT count(*) AS events, count(*) FILTER (liked) AS likes FROM assembly.events;
