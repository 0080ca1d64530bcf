"Metrics of ranked lists: by hand, by definition in loops, and against scikit-learn."

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from ccf_batch.evaluation.ranking import coverage, full_share, popularity_lift
from ccf_batch.metrics import hit_rate_at, ndcg_at, recall_at

# each user: which places of the list are hits, and how many relevant items are not on it
USERS = st.lists(st.tuples(st.lists(st.booleans(), max_size=8), st.integers(0, 4)), max_size=6)


def flat(users):
    owner = [u for u, (hits, _) in enumerate(users) for _ in hits]
    rank = [r for hits, _ in users for r in range(1, len(hits) + 1)]
    hit = [h for hits, _ in users for h in hits]
    relevant = [sum(hits) + missed for hits, missed in users]
    return (
        np.array(owner, int),
        np.array(rank, int),
        np.array(hit, bool),
        np.array(relevant, int),
    )


@pytest.mark.quick
@given(USERS, st.integers(1, 10), st.randoms())
def test_they_are_what_their_definitions_say_in_any_order_of_rows(users, k, random):
    owner, rank, hit, relevant = flat(users)
    order = list(range(len(owner)))
    random.shuffle(order)
    lists = owner[order], rank[order], hit[order], relevant
    recall, rate, ndcg = (f(k, *lists) for f in (recall_at, hit_rate_at, ndcg_at))
    assert len(recall) == len(rate) == len(ndcg) == len(users)
    for u, (hits, missed) in enumerate(users):
        n = sum(hits) + missed
        if not n:
            assert all(map(math.isnan, (recall[u], rate[u], ndcg[u])))
            continue
        assert recall[u] == pytest.approx(sum(hits[:k]) / n)
        assert rate[u] == any(hits[:k])
        dcg = sum(h / math.log2(r + 2) for r, h in enumerate(hits[:k]))
        best = sum(1 / math.log2(r + 2) for r in range(min(n, k)))
        assert ndcg[u] == pytest.approx(dcg / best)


def test_ndcg_is_that_of_scikit_learn_where_all_items_are_on_the_list():
    rng = np.random.default_rng(0)
    for _ in range(20):
        hits = rng.random(12) < 0.3
        if not hits.any():
            continue
        lists = np.zeros(12, int), np.arange(1, 13), hits, np.array([hits.sum()])
        expected = ndcg_score(hits[None].astype(int), -np.arange(12)[None], k=5)
        assert ndcg_at(5, *lists)[0] == pytest.approx(expected)


def test_a_user_without_a_list_has_found_nothing():
    lists = np.array([], int), np.array([], int), np.array([], bool), np.array([2, 0])
    assert recall_at(3, *lists)[0] == hit_rate_at(3, *lists)[0] == ndcg_at(3, *lists)[0] == 0
    assert math.isnan(ndcg_at(3, *lists)[1])


def test_coverage_and_full_lists_by_hand():
    assert coverage(np.array([5, 5, 9]), 8) == 0.25 and math.isnan(coverage(np.array([]), 0))
    owner = np.array([0, 0, 2, 2, 2])
    assert full_share(owner, 4, 3) == 0.25 and full_share(owner, 4, 2) == 0.5
    assert math.isnan(full_share(np.array([], int), 0, 3))


def test_popularity_lift_weighs_users_alike_and_needs_both_sides():
    owner, popularity = np.array([0, 1, 1, 1, 2]), np.array([0.4, 0.2, 0.2, 0.2, 0.9])
    past, past_popularity = np.array([0, 0, 1, 3]), np.array([0.1, 0.3, 0.1, 0.8])
    # users 0 and 1 have both: lists (0.4 + 0.2) / 2, histories (0.2 + 0.1) / 2
    lift = popularity_lift(owner, popularity, past, past_popularity, 4)
    assert lift == pytest.approx(0.6 / 0.3 - 1)
    same = popularity_lift(owner, popularity, owner, popularity, 4)
    assert same == pytest.approx(0)
    none = np.array([], int), np.array([])
    assert math.isnan(popularity_lift(*none, past, past_popularity, 4))
