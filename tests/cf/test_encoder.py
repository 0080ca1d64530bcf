"The CF encoder: its optimum, its content, cold entities, folds, state, and its quality on real data."

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse
from scipy.special import expit
from worlds import (
    groups_over_time,
    make_catalogue,
    make_settings,
    pairs_logit,
    read_movies,
    without_history,
)

from ccf_batch.cf.content import Content, numeric_values
from ccf_batch.cf.encoder import Examples, WarmStart
from ccf_batch.cf.mf import MF, Posterior
from ccf_batch.cf.out_of_fold import fit_folds
from ccf_batch.data.batch import as_groups
from ccf_batch.metrics import auc, uauc


@pytest.fixture(scope="module")
def world():
    "300 users with a taste of genre, 60 items, 6,000 rows; items 58 and 59 have none."
    rng = np.random.default_rng(3)
    genre = rng.integers(0, 3, 60)
    quality = rng.normal(0, 0.5, 60)
    user, item = rng.integers(0, 300, 6000), rng.integers(0, 58, 6000)
    taste = rng.integers(0, 3, 300)
    z = quality[item] + np.where(taste[user] == genre[item], 1.5, -0.5)
    label = (rng.random(6000) < expit(z)).astype(np.int8)
    names = ["Drama", "Comedy", "War"]
    catalogue = make_catalogue(
        [{"genres": [names[g]], "year": [str(1950 + r)]} for r, g in enumerate(genre)]
    )
    return user.astype(np.int32), item.astype(np.int32), label, 300, catalogue


# --- content


def test_content_reads_what_the_settings_name_and_no_more():
    rows = [{"genres": ["A", "B"], "year": [str(y)], "other": ["x"]} for y in range(1990, 2000)]
    rows += [{"genres": ["rare"]}, {"genres": ["A", "A"], "year": ["n/a", "1995"]}, {}, None]
    catalogue = make_catalogue(rows)
    content = Content.fit(catalogue, make_settings())
    assert content.values == {"genres": ["A", "B"]}
    x = content.transform(catalogue).toarray()
    assert x.shape == (14, len(content.columns))
    assert x[:10, :2].min() == 1
    np.testing.assert_allclose(x[:10, 2:].sum(1), 1)  # soft knots share out one
    assert x[10].sum() == 0 and x[12].sum() == 0 and x[13].sum() == 0
    assert x[11, 0] == 1  # said twice, counts once
    np.testing.assert_array_equal(
        numeric_values(catalogue.attributes, "year")[10:12], [np.nan, 1995]
    )


def test_a_number_beyond_the_knots_counts_as_the_last_one():
    catalogue = make_catalogue([{"year": [str(y)]} for y in range(1990, 2000)])
    content = Content.fit(catalogue, make_settings())
    x = content.transform(
        make_catalogue([{"year": ["1800"]}, {"year": ["9e9"]}, {"year": ["inf"]}])
    )
    assert x[0, 0] == 1 and x[1, -1] == 1 and x[2].sum() == 0


@pytest.mark.parametrize("value", ["<|im_end|>", "'; DROP TABLE", "a\nb", "🎬", ""])
def test_any_text_is_just_a_value(value):
    catalogue = make_catalogue([{"genres": [value]}] * 6 + [{}])
    content = Content.fit(catalogue, make_settings())
    assert content.values["genres"] == [value]
    assert content.transform(catalogue).toarray().sum() == 6


# --- the fit


def test_the_fit_is_the_maximum_of_the_posterior(world):
    "Without factors the posterior is concave; its gradient, taken afresh here, is nil at the fit."
    user, item, label, n, catalogue = world
    settings = make_settings(factors=0)
    mf = MF.fit(Examples(*as_groups(user, item, label), n, catalogue), settings)
    t = mf.arrays
    g = expit(pairs_logit(mf, user, item, n, catalogue).astype(np.float64)) - label
    cf = settings.cf
    for gradient in (
        np.bincount(item, g, 60) + cf.item_penalty * t["item_bias"],
        np.bincount(user, g, n) + cf.user_penalty * t["user_bias"],
        g.sum(keepdims=True),
    ):
        assert np.abs(gradient).max() < 0.1  # of thousands of rows, each with |g| < 1


def test_agrees_with_a_logistic_regression_of_scikit_learn(world):
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    user, item, label, n, catalogue = world
    mf = MF.fit(
        Examples(*as_groups(user, item, label), n, catalogue), make_settings((), (), factors=0)
    )
    one = np.ones(len(user))
    r = np.arange(len(user))
    log_R = np.log1p(np.bincount(item, minlength=60))[item]
    design = sparse.hstack(
        [
            sparse.csr_matrix((one, (r, item)), (len(r), 60)),
            sparse.csr_matrix((one / np.sqrt(2), (r, user)), (len(r), n)),
            ((log_R - log_R.mean()) / log_R.std())[:, None],
        ]
    )
    other = LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(design, label)
    mine = pairs_logit(mf, user, item, n, catalogue)
    np.testing.assert_allclose(mine, other.decision_function(design), atol=5e-3)


def test_the_same_rows_give_the_same_bytes(world):
    user, item, label, n, catalogue = world
    a, b = (
        MF.fit(Examples(*as_groups(user, item, label), n, catalogue), make_settings()).arrays
        for _ in range(2)
    )
    assert all(np.array_equal(a[k], b[k]) for k in a)


def test_factors_find_tastes_that_biases_cannot(world):
    user, item, label, n, catalogue = world
    train, test = np.arange(6000) < 5000, np.arange(6000) >= 5000
    found = {}
    for factors in (0, 8):
        settings = make_settings(factors=factors, factor_penalty=5)
        mf = MF.fit(
            Examples(*as_groups(user[train], item[train], label[train]), n, catalogue), settings
        )
        found[factors] = auc(label[test], pairs_logit(mf, user, item, n, catalogue)[test])
    assert found[8] > found[0] + 0.05


def test_without_attributes_factors_come_from_behaviour_alone(world):
    user, item, label, n, _ = world
    catalogue = make_catalogue([None] * 60)
    train, test = np.arange(6000) < 5000, np.arange(6000) >= 5000
    found = {}
    for factors in (0, 8):
        settings = make_settings((), (), factors=factors, factor_penalty=4)
        mf = MF.fit(
            Examples(*as_groups(user[train], item[train], label[train]), n, catalogue), settings
        )
        found[factors] = auc(label[test], pairs_logit(mf, user, item, n, catalogue)[test])
    assert found[8] > found[0] + 0.02


# --- cold, and catalogues that move on


def test_cold_items_get_their_content_and_cold_users_are_average(world):
    user, item, label, n, catalogue = world
    mf = MF.fit(Examples(*as_groups(user, item, label), n, catalogue), make_settings(factors=4))
    items = mf.items(catalogue, np.append(np.arange(59), -1))
    assert items.known.sum() == 58 and not items.known[58:].any()  # no rows, and not there at fit
    assert items.vector.shape == (60, 7) and items.vector.dtype == np.float32
    assert (items.vector[58:, 4] == 0).all() and (
        items.vector[58:, 6] == 0
    ).all()  # bias, log count
    np.testing.assert_allclose(items.logit, items.vector[:, 4] + items.vector[:, 5], rtol=1e-5)
    assert np.abs(items.vector[58:, :4]).max() > 0.1  # factors, from content
    users = mf.users(np.array([5, -1]), items, *without_history(2))
    assert users.known.tolist() == users.seen.tolist() == [True, False]
    assert not users.vector[1].any() and users.vector[0, -1] == 1
    assert users.logit[1] == np.float32(mf.arrays["intercept"][0])


def test_an_item_keeps_its_features_wherever_it_stands_in_a_later_catalogue(world):
    user, item, label, n, catalogue = world
    mf = MF.fit(Examples(*as_groups(user, item, label), n, catalogue), make_settings(factors=4))
    order = np.random.default_rng(0).permutation(60)
    later = replace(catalogue, attributes=catalogue.attributes.take(pa.array(order)))
    before, after = mf.items(catalogue, np.arange(60)), mf.items(later, order)
    np.testing.assert_allclose(after.vector, before.vector[order], atol=1e-6)


# --- folds and state


def test_folds_share_out_the_rows_and_never_see_their_own(world):
    user, item, label, n, catalogue = world
    settings = make_settings(factors=4, folds=3)
    full = MF.fit(Examples(*as_groups(user, item, label), n, catalogue), settings)
    folds = fit_folds(full, Examples(*as_groups(user, item, label), n, catalogue), settings)
    assert np.array_equal(np.sort(np.concatenate([rows for _, rows in folds])), np.arange(6000))
    flipped = label.copy()
    flipped[folds[0][1]] = 1 - flipped[folds[0][1]]
    again = fit_folds(full, Examples(*as_groups(user, item, flipped), n, catalogue), settings)
    for k in full.arrays:
        assert np.array_equal(folds[0][0].arrays[k], again[0][0].arrays[k])
    assert not np.array_equal(folds[1][0].arrays["item_bias"], again[1][0].arrays["item_bias"])
    for mf, _ in folds:  # counts are scaled up to those of the full fit
        assert mf.arrays["item_count"].sum() == pytest.approx(6000)


def test_alignment_turns_factors_and_leaves_every_logit_alone(world):
    from scipy.stats import ortho_group

    user, item, label, n, catalogue = world
    full = MF.fit(Examples(*as_groups(user, item, label), n, catalogue), make_settings(factors=4))
    turn = ortho_group.rvs(4, random_state=0)
    names = ("item_factor", "user_factor", "history_factor", "project", "mean")
    turned = MF(full.content, full.arrays | {k: full.arrays[k] @ turn for k in names})
    back = turned.align(full)
    for k in names:
        np.testing.assert_allclose(back.arrays[k], full.arrays[k], atol=1e-6)
    np.testing.assert_allclose(
        pairs_logit(turned, user, item, n, catalogue),
        pairs_logit(full, user, item, n, catalogue),
        atol=1e-5,
    )


def test_state_goes_through_safetensors_and_json_bit_for_bit(world, tmp_path):
    import json

    from safetensors.torch import load_file, save_file

    user, item, label, n, catalogue = world
    mf = MF.fit(Examples(*as_groups(user, item, label), n, catalogue), make_settings(factors=4))
    tensors, meta = mf.state()
    save_file(tensors, tmp_path / "cf.safetensors")
    again = MF.from_state(load_file(tmp_path / "cf.safetensors"), json.loads(json.dumps(meta)))
    assert again.content == mf.content
    assert np.array_equal(
        pairs_logit(again, user, item, n, catalogue), pairs_logit(mf, user, item, n, catalogue)
    )


@pytest.fixture(scope="module")
def timed(world):
    "The same rows as groups over time."
    user, item, label, n, catalogue = world
    return *groups_over_time(user, item, label), n, catalogue


def test_time_forward_encoders_know_only_what_came_before(timed):
    batch, user, n, catalogue = timed
    settings = make_settings(factors=3, folds=4, out_of_fold="time-forward")
    full = MF.fit(Examples(batch, user, n, catalogue), settings)
    folds = fit_folds(full, Examples(batch, user, n, catalogue), settings)
    assert len(folds) == 3  # before the first block there is nothing
    groups = np.concatenate([groups for _, groups in folds])
    assert len(np.unique(groups)) == len(groups) > 0.7 * len(batch)
    first = np.minimum.reduceat(batch.event_ts, batch.candidate_offsets[:-1])
    for encoder, groups in folds:
        later = (batch.event_ts >= first[groups].min()).astype(bool)
        flipped = replace(batch, label=np.where(later, 1 - batch.label, batch.label))
        again = fit_folds(full, Examples(flipped, user, n, catalogue), settings)
        k = [g[0] for _, g in folds].index(groups[0])
        for name in encoder.arrays:
            assert np.array_equal(encoder.arrays[name], again[k][0].arrays[name])
    # with rows enough before what is asked for, all of it has vectors
    _, whole = batch.newest(3000)
    folds = fit_folds(full, Examples(batch, user, n, catalogue), settings, newest=3000)
    assert np.array_equal(np.sort(np.concatenate([groups for _, groups in folds])), whole)
    assert len(folds) == 4


def test_in_sample_is_the_encoder_itself_and_asked_groups_alone_get_vectors(timed):
    batch, user, n, catalogue = timed
    settings = make_settings(factors=2, folds=3, out_of_fold="in-sample")
    full = MF.fit(Examples(batch, user, n, catalogue), settings)
    _, asked = batch.newest(40)
    ((encoder, groups),) = fit_folds(full, Examples(batch, user, n, catalogue), settings, newest=40)
    assert encoder is full and np.array_equal(groups, asked)
    settings = make_settings(factors=2, folds=3)
    folds = fit_folds(full, Examples(batch, user, n, catalogue), settings, newest=40)
    assert np.array_equal(np.sort(np.concatenate([groups for _, groups in folds])), asked)


def test_newest_rows(timed):
    batch = timed[0]
    some, groups = batch.newest(1000)
    assert len(some.candidate) == 1000 and some.event_ts.min() > np.sort(batch.event_ts)[-1001]
    assert some.user_id.equals(batch.user_id.take(pa.array(groups)))
    rows = set(
        zip(
            batch.user_id.to_numpy()[batch.group_of],
            batch.candidate,
            batch.event_ts,
            batch.label,
            strict=True,
        )
    )
    kept = list(
        zip(
            some.user_id.to_numpy()[some.group_of],
            some.candidate,
            some.event_ts,
            some.label,
            strict=True,
        )
    )
    assert set(kept) <= rows and len(kept) == 1000
    for g in range(0, len(some), 37):
        h = slice(*some.history_offsets[g : g + 2])
        whole = slice(*batch.history_offsets[groups[g] : groups[g] + 2])
        assert np.array_equal(some.history[h], batch.history[whole])
    everything, groups = batch.newest(10**6)
    assert len(groups) == len(batch) and np.array_equal(everything.candidate, batch.candidate)


# --- histories


@pytest.mark.parametrize("content", [True, False])
def test_the_gradient_is_that_of_finite_differences(timed, content):
    batch, user, n, catalogue = timed
    rng = np.random.default_rng(0)
    x = sparse.csr_matrix(rng.normal(size=(len(catalogue), 3 if content else 0)))
    posterior = Posterior(
        batch,
        user,
        n,
        x,
        rng.normal(size=(len(catalogue), 2)) * content,
        make_settings(content=content),
    )
    at = rng.normal(size=len(posterior.penalty)) / 3
    _, gradient = posterior(at)
    for k in rng.choice(len(at), 60, replace=False):
        step = np.zeros(len(at))
        step[k] = 1e-4
        slope = (posterior(at + step)[0] - posterior(at - step)[0]) / 2e-4
        assert slope == pytest.approx(gradient[k], rel=1e-5, abs=1e-4)


def test_a_user_who_came_after_the_fit_is_served_by_a_history(timed):
    batch, user, n, catalogue = timed
    mf = MF.fit(Examples(batch, user, n, catalogue), make_settings(factors=4, factor_penalty=3))
    items = mf.items(catalogue, np.arange(60))
    genre = np.array([dict(a)["genres"][0] for a in catalogue.attributes.to_pylist()])
    drama, war = (np.flatnonzero(genre[:58] == g) for g in ("Drama", "War"))
    history = np.concatenate([drama[:6], war[:6]]).astype(np.int32)
    users = mf.users(np.array([-1, -1, -1]), items, history, np.array([0, 6, 12, 12]))
    assert users.known.tolist() == [True, True, False] and not users.seen.any()
    assert not users.vector[2].any() and not users.vector[:, -3:].any()
    rest = np.concatenate([drama[6:], war[6:]])
    z = mf.logit(users, items, np.repeat([0, 1], len(rest)), np.tile(rest, 2)).reshape(2, -1)
    likes_drama = (z[0] - z[1])[: len(drama) - 6].mean() - (z[0] - z[1])[len(drama) - 6 :].mean()
    assert likes_drama > 0.1
    # an item that the encoder never met says nothing, and is not counted
    grown = mf.items(catalogue, np.where(np.arange(60) == 59, -1, np.arange(60)))
    more = mf.users(np.array([-1]), grown, np.append(history[:6], 59), np.array([0, 7]))
    np.testing.assert_allclose(more.vector, users.vector[:1], atol=1e-6)
    off = MF.fit(Examples(batch, user, n, catalogue), make_settings(factors=4, history=False))
    users = off.users(
        np.array([-1]), off.items(catalogue, np.arange(60)), history, np.array([0, 12])
    )
    assert not users.known.any() and not users.vector.any()


# --- from last night on


@pytest.mark.parametrize("content", [True, False])
def test_a_warm_start_ends_at_the_same_optimum_sooner(timed, content):
    "New rows, two new users, a new item, other item rows: found from the old optimum in fewer iterations."
    batch, user, n, catalogue = timed
    settings = make_settings(factors=4, content=content)
    early = np.flatnonzero(
        np.maximum.reduceat(batch.event_ts, batch.candidate_offsets[:-1])
        < np.sort(batch.event_ts)[5800]
    )
    early = early[user[early] < n - 2]
    order = np.random.default_rng(1).permutation(60)  # row r of the new catalogue was row order[r]
    old_rows = np.where(order == 59, -1, order)
    old = MF.fit(Examples(batch.take(early), user[early], n - 2, catalogue), settings)
    back = np.argsort(order).astype(np.int32)
    moved = replace(batch, candidate=back[batch.candidate], history=back[batch.history])
    later = replace(catalogue, attributes=catalogue.attributes.take(pa.array(order)))
    start = WarmStart(old, old_rows, np.where(np.arange(n) < n - 2, np.arange(n), -1))
    warm = MF.fit(Examples(moved, user, n, later), settings, start=start)
    scratch = MF.fit(Examples(moved, user, n, later), settings)
    assert warm.arrays["iterations"][0] < 0.8 * scratch.arrays["iterations"][0]
    z = []
    for mf in (warm, scratch):
        items = mf.items(later, np.arange(60))
        users = mf.users(user, items, moved.history, moved.history_offsets)
        z.append(mf.logit(users, items, moved.group_of, moved.candidate))
    np.testing.assert_allclose(z[0], z[1], atol=0.05)
    # and the ground is not rotated away
    known = old_rows >= 0
    before = old.arrays["item_factor"][old_rows[known]]
    turned = np.linalg.norm(warm.arrays["item_factor"][known] - before)
    assert turned < 0.6 * np.linalg.norm(before)


# --- real data


@pytest.fixture(scope="module")
def movies(shared):
    return read_movies(shared)


@pytest.mark.shared
def test_quality_on_movielens(movies):
    "The CF logit alone, fitted on train: AUC and UAUC on valid, and more AUC than without factors."
    catalogue, n, rows = movies
    user, item, label = rows["valid"]
    found = {}
    for factors in (0, 16):
        mf = MF.fit(
            Examples(*as_groups(*rows["train"]), n, catalogue), make_settings(factors=factors)
        )
        z = pairs_logit(mf, user, item, n, catalogue)
        found[factors] = auc(label, z), uauc(user, label, z)[0]
    assert found[16] == pytest.approx((0.7512, 0.6955), abs=1e-3)
    assert found[0] == pytest.approx((0.7490, 0.6954), abs=1e-3)
