"Metrics against scikit-learn, ties and all."

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from ccf_batch.metrics import (
    auc,
    calibration_error,
    group_auc,
    log_loss,
    mass_bins,
    quality,
    rela_impr,
    uauc,
)

ROW = st.tuples(st.integers(0, 5), st.integers(0, 1), st.integers(-3, 3))  # few scores: many ties


@pytest.mark.quick
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


def equal_mass_error(label, p, bins):
    "The definition by a loop: ranks cut into bins of equal mass; no equal probabilities."
    order = np.argsort(p)
    ends = [math.ceil(k * len(p) / bins) for k in range(bins + 1)]
    parts = [order[a:b] for a, b in itertools.pairwise(ends)]
    return sum(abs(p[b].mean() - label[b].mean()) * len(b) for b in parts if len(b)) / len(p)


@pytest.mark.parametrize("rows, bins", [(1000, 15), (7, 3), (15, 15), (4, 10)])
def test_calibration_error_is_the_one_over_bins_of_equal_mass(rows, bins):
    rng = np.random.default_rng(rows)
    margin, label = rng.normal(size=rows), rng.integers(0, 2, rows)
    expected = equal_mass_error(label, 1 / (1 + np.exp(-margin)), bins)
    assert calibration_error(label, margin, bins) == pytest.approx(expected)


def test_calibration_error_knows_calibrated_from_confident():
    rng = np.random.default_rng(0)
    margin = rng.normal(size=200_000)
    label = rng.random(200_000) < 1 / (1 + np.exp(-margin))
    assert calibration_error(label, margin) < 0.005
    assert calibration_error(label, 3 * margin) > 0.1
    assert calibration_error(label, np.zeros(200_000)) == pytest.approx(abs(label.mean() - 0.5))
    assert calibration_error([1, 0], np.array([1000.0, -1000.0])) == 0


@pytest.mark.quick
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60), st.integers(1, 20))
def test_bins_follow_the_margin_and_never_part_equal_ones(margin, bins):
    margin = np.array(margin)
    found = mass_bins(margin, bins)
    assert 0 <= found.min() and found.max() < bins
    order = np.argsort(margin, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    assert all(len(set(found[margin == m])) == 1 for m in margin)


def test_rela_impr_is_the_published_one_and_undefined_over_chance_or_less():
    assert rela_impr(0.7427, 0.5959) == pytest.approx(1.5308, abs=1e-3)
    assert rela_impr(0.4, 0.6) == pytest.approx(-2)
    assert math.isnan(rela_impr(0.7, 0.5)) and math.isnan(rela_impr(0.7, 0.4))


def test_nothing_to_compare_is_nan_and_a_nan_score_is_an_error():
    assert math.isnan(auc([1, 1], [0.1, 0.2])) and math.isnan(auc([], []))
    assert math.isnan(log_loss([], [])) and uauc([], [], [])[1] == 0
    assert math.isnan(calibration_error([], []))
    with pytest.raises(ValueError, match="NaN"):
        auc([1, 0], [np.nan, 0.5])


def test_quality_holds_on_a_million_rows():
    rng = np.random.default_rng(0)
    margin = rng.normal(size=1_000_000)
    label = rng.random(1_000_000) < 1 / (1 + np.exp(-margin))
    q = quality(rng.integers(0, 50_000, 1_000_000), label, margin)
    assert q.rows == 1_000_000 and q.users > 49_000
    assert q.auc == pytest.approx(sk.roc_auc_score(label, margin)) and abs(q.auc - q.uauc) < 0.01
