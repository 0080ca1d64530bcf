"Metrics against scikit-learn, ties and all."

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from ccf_batch.metrics import auc, group_auc, log_loss, quality, uauc

ROW = st.tuples(st.integers(0, 5), st.integers(0, 1), st.integers(-3, 3))  # few scores: many ties


@given(st.lists(ROW, min_size=1, max_size=80))
def test_auc_and_uauc_are_those_of_scikit_learn(rows):
    user, label, score = (np.array(x) for x in zip(*rows, strict=True))
    score = score / 3
    expected = {}
    for u in np.unique(user):
        mine = user == u
        if 0 < label[mine].sum() < mine.sum():
            expected[u] = sk.roc_auc_score(label[mine], score[mine])
    names, values = group_auc(label, score, user)
    assert {
        u: pytest.approx(v) for u, v in zip(names, values, strict=True) if not math.isnan(v)
    } == expected
    mean, users = uauc(user, label, score)
    assert users == len(expected)
    if expected:
        assert mean == pytest.approx(np.mean(list(expected.values())))
        assert auc(label, score) == pytest.approx(sk.roc_auc_score(label, score))
    else:
        assert math.isnan(mean)


def test_uauc_weights_users_alike_whatever_their_rows():
    user = np.array([0] * 100 + [1] * 2)
    label = np.array([0, 1] * 50 + [0, 1])
    score = np.array([0.0, 1.0] * 50 + [1.0, 0.0])
    assert uauc(user, label, score) == (0.5, 2)


def test_users_may_be_strings_in_any_order():
    user = np.array(["é", "a", "é", "a"])
    assert uauc(user, np.array([1, 0, 0, 1]), np.array([1.0, 0.0, 0.0, 1.0])) == (1.0, 2)


def test_log_loss_is_that_of_scikit_learn_and_survives_large_margins():
    rng = np.random.default_rng(0)
    margin = rng.normal(0, 3, 500)
    label = rng.integers(0, 2, 500)
    assert log_loss(label, margin) == pytest.approx(sk.log_loss(label, 1 / (1 + np.exp(-margin))))
    assert log_loss([1], np.float32([-1000])) == 1000
    assert log_loss([1, 0], np.float32([100, -100])) < 1e-40


def test_nothing_to_compare_is_nan_and_a_nan_score_is_an_error():
    assert math.isnan(auc([1, 1], [0.1, 0.2])) and math.isnan(auc([], []))
    assert math.isnan(log_loss([], [])) and uauc([], [], [])[1] == 0
    with pytest.raises(ValueError, match="NaN"):
        auc([1, 0], [np.nan, 0.5])


def test_quality_holds_on_a_million_rows():
    rng = np.random.default_rng(0)
    margin = rng.normal(size=1_000_000)
    label = rng.random(1_000_000) < 1 / (1 + np.exp(-margin))
    q = quality(rng.integers(0, 50_000, 1_000_000), label, margin)
    assert q.rows == 1_000_000 and q.users > 49_000
    assert q.auc == pytest.approx(sk.roc_auc_score(label, margin)) and abs(q.auc - q.uauc) < 0.01
