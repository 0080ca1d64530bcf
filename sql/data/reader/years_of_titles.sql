-- Gives items the attribute `year` from the end of their titles, as in "Toy Story (1995)", where they have
-- none, if more than half of all titles end in a year: in other catalogues it is a part of a few names.
UPDATE entities
SET pairs = list_append(pairs, {'key': 'year', 'parts': [title[-5:-2]]})
WHERE input = 'items'
    AND regexp_matches(title, '\((1[89]|20)\d\d\)$')
    AND len(list_filter(pairs, lambda p: p.key = 'year')) = 0
    AND (
        SELECT count(*) FILTER (regexp_matches(title, '\((1[89]|20)\d\d\)$')) > 0.5 * count(title)
        FROM entities
        WHERE input = 'items' AND id IS NOT NULL
    );
