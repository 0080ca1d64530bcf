"Metrics against scikit-learn, ties included; resamples against rows that are really repeated."

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples
from sklearn import metrics as sk

from ccf_batch.metrics import (
    ROW_METRICS,
    ByScore,
    auc,
    calibration_error,
    group_auc,
    log_loss,
    mass_bins,
    mean_draws,
    paired_difference,
    percentiles,
    quality,
    rela_impr,
    resample,
    uauc,
    user_counts,
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


def rows_of(seed, rows=600, users=30, decimals=1):
    rng = np.random.default_rng(seed)
    user, margin = rng.integers(0, users, rows), rng.normal(size=rows).round(decimals)
    return user, (rng.random(rows) < 1 / (1 + np.exp(-margin))).astype(np.int8), margin


@pytest.mark.quick
@given(st.lists(ROW, min_size=1, max_size=60), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_weighted_auc_is_that_of_scikit_learn(rows, counts):
    user, label, score = (np.array(x) for x in zip(*rows, strict=True))
    counts = np.array(counts, float)
    found = ByScore(user, label, score / 3).auc(counts)
    weight = counts[user]
    if weight[label == 1].sum() and weight[label == 0].sum():
        kept = weight > 0
        expected = sk.roc_auc_score(label[kept], score[kept], sample_weight=weight[kept])
        assert found == pytest.approx(expected)
    else:
        assert math.isnan(found)


@pytest.mark.quick
@examples(30)
@given(st.integers(0, 10**6))
def test_a_resample_is_the_sample_with_the_rows_of_drawn_users_repeated(seed):
    user, label, margin = rows_of(seed, rows=120, users=8)
    names = np.unique(user)
    found = resample(user, label, margin, resamples=3, seed=seed)
    (counts_BU,) = user_counts(len(names), 3, seed)
    for b, counts in enumerate(counts_BU.astype(int)):
        rows, copies = [], []
        for row, u in enumerate(np.searchsorted(names, user)):
            rows += [row] * counts[u]
            copies += range(counts[u])
        # a user who was drawn twice is two users
        twins = user[rows] * 100 + np.array(copies)
        expected = quality(twins, label[rows], margin[rows])
        for metric in ("auc", "uauc", "log_loss"):
            one = getattr(expected, metric)
            assert found.draws[metric][b] == pytest.approx(one, nan_ok=True)
        bins = mass_bins(margin)[rows]  # held where the sample has them
        gap = np.bincount(bins, 1 / (1 + np.exp(-margin[rows])) - label[rows])
        assert found.draws["calibration_error"][b] == pytest.approx(np.abs(gap).sum() / len(rows))


@pytest.mark.quick
@given(st.integers(1, 60), st.integers(0, 5))
def test_counts_are_multinomial_and_do_not_depend_on_how_they_are_cut(users, seed):
    whole = np.concatenate(list(user_counts(users, 7, seed)))
    assert whole.shape == (7, users) and (whole.sum(1) == users).all()
    assert np.array_equal(whole[:4], np.concatenate(list(user_counts(users, 4, seed))))


def test_counts_of_many_users_come_in_parts():
    parts = list(user_counts(3_000_000, 3, 0))
    assert [len(p) for p in parts] == [1, 1, 1] and not np.array_equal(parts[0], parts[1])


def test_an_interval_is_the_percentiles_2_5_and_97_5_of_the_draws():
    assert percentiles(np.append(np.arange(1001.0), np.nan)) == pytest.approx((25, 975))
    found = resample(*rows_of(0), resamples=100)
    for metric in ROW_METRICS:
        expected = np.percentile(found.draws[metric], [2.5, 97.5])
        assert found.interval(metric) == pytest.approx(tuple(expected))


def test_intervals_cover_what_the_rows_were_drawn_from():
    "Of 95% intervals from 120 samples, about 95% should hold the true AUC."
    big = rows_of(0, rows=400_000, users=10, decimals=6)
    truth = sk.roc_auc_score(big[1], big[2])
    inside = 0
    for seed in range(1, 121):
        low, high = resample(*rows_of(seed, 400, 60, 6), resamples=200, seed=seed).interval("auc")
        inside += low <= truth <= high
    assert 104 <= inside <= 120  # 114 ± 4 standard deviations


def test_intervals_are_those_of_users_and_not_of_rows():
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(50), 40)
    margin = rng.normal(0, 2, 50)[user]
    label = rng.random(2000) < 1 / (1 + np.exp(-margin))
    low, high = resample(user, label, margin, 300).interval("auc")
    row_low, row_high = resample(np.arange(2000), label, margin, 300).interval("auc")
    assert high - low > 1.5 * (row_high - row_low)


def test_difference_is_paired_and_refuses_what_is_not():
    user, label, margin = rows_of(0, 3000, 60)
    noise = np.random.default_rng(1).normal(0, 0.3, 3000)
    a, b = (resample(user, label, m, 200, seed=5) for m in (margin, margin + noise))
    found = paired_difference(a, b)
    assert found.value == pytest.approx(a.quality.auc - b.quality.auc)
    assert 0 < found.low < found.value < found.high
    apart = a.interval("auc").high - a.interval("auc").low
    assert found.high - found.low < apart / 2
    assert paired_difference(a, a) == (0, 0, 0)
    mirrored = paired_difference(b, a)
    assert np.allclose(mirrored, (-found.value, -found.high, -found.low))
    for other in (
        resample(user, label, margin, 200, seed=6),
        resample(user, label, margin, 100, seed=5),
        resample(user[1:], label[1:], margin[1:], 200, seed=5),
    ):
        with pytest.raises(ValueError, match="not paired"):
            paired_difference(a, other)


def test_the_same_seed_gives_the_same_interval_and_names_do_not_matter():
    user, label, margin = rows_of(3)
    one, two = resample(user, label, margin, 50), resample(user, label, margin, 50)
    named = resample(np.array([f"u{u:02d}" for u in user]), label, margin, 50)
    for metric in ROW_METRICS:
        assert np.array_equal(one.draws[metric], two.draws[metric])
        assert np.array_equal(one.draws[metric], named.draws[metric])
    assert one.interval("auc") != resample(user, label, margin, 50, seed=1).interval("auc")


def test_without_rows_or_a_class_there_is_no_interval():
    nothing = resample(np.array([], int), np.array([], int), np.array([]), 10)
    assert math.isnan(nothing.quality.auc) and all(map(math.isnan, nothing.interval("auc")))
    likes = resample(np.array([0, 1]), np.array([1, 1]), np.array([0.5, 2]), 10)
    assert all(map(math.isnan, likes.interval("auc"))) and likes.interval("log_loss").low > 0
    with pytest.raises(ValueError, match="NaN"):
        resample(np.array([0, 0]), np.array([1, 0]), np.array([np.nan, 1]))
    # half of the resamples lack one of the two users, and so a class
    half = resample(np.array([0, 1]), np.array([1, 0]), np.array([1.0, 0.0]), 100)
    assert 30 < np.isnan(half.draws["auc"]).sum() < 70 and half.interval("auc") == (1, 1)


def test_means_over_users_leave_out_who_has_no_number():
    values = np.array([[1.0, 0.0], [np.nan, 1.0], [0.0, 0.5]])
    means, draws = mean_draws(values, resamples=400, seed=2)
    assert means.tolist() == [0.5, 0.5] and draws.shape == (400, 2)
    (counts,) = user_counts(3, 400, 2)
    assert np.allclose(draws[:, 1], counts @ values[:, 1] / 3)
    none = counts[:, [0, 2]].sum(1) == 0
    assert np.isnan(draws[none, 0]).all() and not np.isnan(draws[~none, 0]).any()
    assert percentiles(draws[:, 0]) == (0, 1)
