"The baselines: strangers, degenerate rows, and the published numbers on real data."

import numpy as np
import pytest
from worlds import make_catalogue, make_settings, read_movies, without_history

from ccf_batch.cf.encoder import Examples
from ccf_batch.cf.mf import MF
from ccf_batch.data.batch import as_groups
from ccf_batch.evaluation.baselines import BASELINES, shrunk_mean
from ccf_batch.metrics import quality


def rows(n_users=40, n_items=20, n=600):
    rng = np.random.default_rng(1)
    user, item = rng.integers(0, n_users, n), rng.integers(0, n_items - 1, n)
    return user, item, (rng.random(n) < 0.3 + 0.4 * (item % 2)).astype(np.int8)


@pytest.mark.parametrize("name", BASELINES)
def test_any_pair_has_a_margin_and_the_same_rows_give_the_same(name):
    user, item, label = rows()
    genres = [{"genres": [["A", "B"][r % 2]]} for r in range(20)]
    catalogue = make_catalogue(genres)
    a, b = (
        BASELINES[name].fit(user, item, label, 40, catalogue, make_settings()) for _ in range(2)
    )
    pairs = np.array([0, -1, -1, 39]), np.array([0, 0, 19, 19])  # strangers, an item without rows
    margin = a.margin(*pairs)
    assert margin.shape == (4,) and np.isfinite(margin).all()
    assert np.array_equal(margin, b.margin(*pairs))
    assert a.margin(np.array([-1]), np.array([1]))[0] > a.margin(np.array([-1]), np.array([0]))[0]


def test_a_mean_is_shrunk_by_five_average_labels():
    found = shrunk_mean(np.array([0] * 5 + [1]), np.array([1] * 5 + [0]), 2)
    mean = 5 / 6
    np.testing.assert_allclose(found, [(5 + 5 * mean) / 10, 5 * mean / 6, mean])


def test_bias_content_is_the_encoder_without_factors():
    "Two ways to the same posterior: scikit-learn's and our own."
    user, item, label = rows()
    catalogue = make_catalogue(
        [{"genres": [["A", "B"][r % 2]], "year": [str(r)]} for r in range(20)]
    )
    settings = make_settings(factors=0)
    baseline = BASELINES["BiasContent"].fit(user, item, label, 40, catalogue, settings)
    mf = MF.fit(Examples(*as_groups(user, item, label), 40, catalogue), settings)
    items = mf.items(catalogue, np.arange(20))
    users = mf.users(np.arange(-1, 40), items, *without_history(41))
    u, i = (x.ravel() for x in np.meshgrid(np.arange(-1, 40), np.arange(20)))
    seen = items.known[i]
    np.testing.assert_allclose(
        mf.logit(users, items, u + 1, i)[seen], baseline.margin(u, i)[seen], atol=2e-3
    )


@pytest.mark.shared
def test_numbers_on_movielens(shared):
    "Fitted on train, measured on test: the numbers that the tables of results quote."
    catalogue, n, splits = read_movies(shared)
    found = {}
    for name, baseline in BASELINES.items():
        fitted = baseline.fit(*splits["train"], n, catalogue, make_settings())
        user, item, label = splits["test"]
        found[name] = quality(user, label, fitted.margin(user, item))
    assert {q.rows for q in found.values()} == {7331} and {q.users for q in found.values()} == {224}
    assert found["ItemMean"][:2] == pytest.approx((0.7094, 0.6816), abs=1e-4)
    assert found["Item+UserMean"][:2] == pytest.approx((0.7317, 0.6816), abs=1e-4)
    assert found["BiasContent"].auc == pytest.approx(0.7499, abs=1e-3)
    assert found["BiasContent"].uauc == pytest.approx(0.697, abs=3e-3)
