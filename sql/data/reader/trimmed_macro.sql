-- trimmed(x): the text x without blanks around it; NULL where nothing is left.
CREATE OR REPLACE MACRO trimmed(x) AS nullif(trim(x, E' \t\r\n'), '');
