-- pairs(keys, texts, separators, list_keys, lists, nothing): the attributes of a row as a list of
-- {key, parts}, without empty ones. texts[i] is the text of keys[i], split at separators[i];
-- lists[i] is the list of values of list_keys[i].
CREATE OR REPLACE MACRO pairs(keys, texts, separators, list_keys, lists, nothing) AS list_filter(
    list_concat(
        list_transform(
            list_zip(keys, texts, separators),
            lambda z: {'key': z[1], 'parts': parts(z[1], z[2], z[3], nothing)}
        ),
        list_transform(
            list_zip(list_keys, lists),
            lambda z: {'key': z[1], 'parts': distinct_in_order(list_filter(
                list_transform(coalesce(z[2], []), lambda s: trim(s, E' \t\r\n')),
                lambda s: s <> ''
            ))}
        )
    ),
    lambda p: p.key IS NOT NULL AND len(p.parts) > 0
);
