-- One row: the number of items of the catalogue.
SELECT count(*) AS items FROM assembly.items;
