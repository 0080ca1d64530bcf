-- distinct_in_order(l): the list l without repetitions, each value at its first place.
CREATE OR REPLACE MACRO distinct_in_order(l) AS list_filter(l, lambda s, i: list_position(l, s) = i);
