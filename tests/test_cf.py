"The CF encoder: its optimum, its content, cold entities, folds, state, and its quality on real data."

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit
from worlds import make_catalogue, make_settings, pairs_logit, read_movies, without_history

from ccf_batch.cf import as_groups, out_of_fold
from ccf_batch.content import Content, numeric_values
from ccf_batch.metrics import auc, uauc
from ccf_batch.mf import MF


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
    mf = MF.fit(*as_groups(user, item, label), n, catalogue, settings)
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
    mf = MF.fit(*as_groups(user, item, label), n, catalogue, make_settings((), (), factors=0))
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
        MF.fit(*as_groups(user, item, label), n, catalogue, make_settings()).arrays
        for _ in range(2)
    )
    assert all(np.array_equal(a[k], b[k]) for k in a)


def test_factors_find_tastes_that_biases_cannot(world):
    user, item, label, n, catalogue = world
    train, test = np.arange(6000) < 5000, np.arange(6000) >= 5000
    found = {}
    for factors in (0, 8):
        settings = make_settings(factors=factors, factor_penalty=5)
        mf = MF.fit(*as_groups(user[train], item[train], label[train]), n, catalogue, settings)
        found[factors] = auc(label[test], pairs_logit(mf, user, item, n, catalogue)[test])
    assert found[8] > found[0] + 0.05


def test_without_attributes_factors_come_from_behaviour_alone(world):
    user, item, label, n, _ = world
    catalogue = make_catalogue([None] * 60)
    train, test = np.arange(6000) < 5000, np.arange(6000) >= 5000
    found = {}
    for factors in (0, 8):
        settings = make_settings((), (), factors=factors, factor_penalty=4)
        mf = MF.fit(*as_groups(user[train], item[train], label[train]), n, catalogue, settings)
        found[factors] = auc(label[test], pairs_logit(mf, user, item, n, catalogue)[test])
    assert found[8] > found[0] + 0.02


# --- cold, and catalogues that move on


def test_cold_items_get_their_content_and_cold_users_are_average(world):
    user, item, label, n, catalogue = world
    mf = MF.fit(*as_groups(user, item, label), n, catalogue, make_settings(factors=4))
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
    mf = MF.fit(*as_groups(user, item, label), n, catalogue, make_settings(factors=4))
    order = np.random.default_rng(0).permutation(60)
    later = replace(catalogue, attributes=catalogue.attributes.take(pa.array(order)))
    before, after = mf.items(catalogue, np.arange(60)), mf.items(later, order)
    np.testing.assert_allclose(after.vector, before.vector[order], atol=1e-6)


# --- folds and state


def test_folds_share_out_the_rows_and_never_see_their_own(world):
    user, item, label, n, catalogue = world
    settings = make_settings(factors=4, folds=3)
    full = MF.fit(*as_groups(user, item, label), n, catalogue, settings)
    folds = out_of_fold(full, *as_groups(user, item, label), n, catalogue, settings)
    assert np.array_equal(np.sort(np.concatenate([rows for _, rows in folds])), np.arange(6000))
    flipped = label.copy()
    flipped[folds[0][1]] = 1 - flipped[folds[0][1]]
    again = out_of_fold(full, *as_groups(user, item, flipped), n, catalogue, settings)
    for k in full.arrays:
        assert np.array_equal(folds[0][0].arrays[k], again[0][0].arrays[k])
    assert not np.array_equal(folds[1][0].arrays["item_bias"], again[1][0].arrays["item_bias"])
    for mf, _ in folds:  # counts are scaled up to those of the full fit
        assert mf.arrays["item_count"].sum() == pytest.approx(6000)


def test_alignment_turns_factors_and_leaves_every_logit_alone(world):
    from scipy.stats import ortho_group

    user, item, label, n, catalogue = world
    full = MF.fit(*as_groups(user, item, label), n, catalogue, make_settings(factors=4))
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
    mf = MF.fit(*as_groups(user, item, label), n, catalogue, make_settings(factors=4))
    tensors, meta = mf.state()
    save_file(tensors, tmp_path / "cf.safetensors")
    again = MF.from_state(load_file(tmp_path / "cf.safetensors"), json.loads(json.dumps(meta)))
    assert again.content == mf.content
    assert np.array_equal(
        pairs_logit(again, user, item, n, catalogue), pairs_logit(mf, user, item, n, catalogue)
    )


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
        mf = MF.fit(*as_groups(*rows["train"]), n, catalogue, make_settings(factors=factors))
        z = pairs_logit(mf, user, item, n, catalogue)
        found[factors] = auc(label, z), uauc(user, label, z)[0]
    assert found[16] == pytest.approx((0.7512, 0.6955), abs=1e-3)
    assert found[0] == pytest.approx((0.7490, 0.6954), abs=1e-3)
