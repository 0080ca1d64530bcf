"What every encoder must do, and what LightGCN and SASRec are."

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.special import expit
from worlds import groups_over_time, make_catalogue, make_settings, without_history

from ccf_batch.cf import bias_prior, lightgcn, sasrec
from ccf_batch.cf.encoder import (
    ENCODERS,
    OTHERS,
    Examples,
    WarmStart,
    encoder_class,
    encoder_name,
)
from ccf_batch.cf.out_of_fold import fit_folds
from ccf_batch.cf.residual import fit_base, logit_of
from ccf_batch.metrics import auc

KINDS = [(kind, content) for kind in ENCODERS for content in (True, False)]
N, U = 40, 120


@pytest.fixture(scope="module")
def world():
    "Users with a taste of a genre that is no attribute; items 38 and 39 have no rows."
    rng = np.random.default_rng(3)
    user, item = rng.integers(0, U, 3600), rng.integers(0, N - 2, 3600)
    z = rng.normal(0, 0.5, N)[item] + np.where(user % 3 == item % 3, 1.5, -0.8)
    label = (rng.random(3600) < expit(z)).astype(np.int8)
    names = ["Drama", "Comedy"]
    rows = [{"genres": [names[r % 2]], "year": [str(1950 + r)]} for r in range(N)]
    return *groups_over_time(user, item, label), make_catalogue(rows)


def settings_for(kind, content, **cf):
    penalty = {"factor_penalty": 3.0} if kind == "mf" else {}
    cf = {"factors": 4, "history_length": 8, "folds": 3} | penalty | cf
    return make_settings(encoder=kind, content=content, **cf)


def fitted(world, kind, content, **changed):
    batch, user, catalogue = world
    how = {"epochs": 3} | changed
    examples = Examples(batch, user, U, catalogue, how.pop("valid", None))
    settings = settings_for(kind, content)
    return encoder_class(kind).fit(examples, settings, **how)


@pytest.fixture(scope="module")
def encoders(world):
    return {which: fitted(world, *which) for which in KINDS}


@pytest.fixture(params=KINDS, ids=lambda k: f"{k[0]}{'+content' * k[1]}")
def which(request):
    return request.param


def test_names():
    assert encoder_name(make_settings()) == "MF+content"
    assert encoder_name(make_settings(encoder="sasrec", content=False)) == "SASRec"
    assert [encoder_class(kind).__name__ for kind in ENCODERS] == ["MF", "LightGCN", "SASRec"]


def test_vectors_add_up_to_the_logit(world, encoders, which):
    batch, user, catalogue = world
    encoder = encoders[which]
    items = encoder.items(catalogue, np.arange(N))
    users = encoder.users(user, items, batch.history, batch.history_offsets)
    assert items.vector.shape == (N, 4 + OTHERS) and users.vector.shape == (len(batch), 4 + OTHERS)
    assert all(
        x.dtype == np.float32 for x in (items.vector, users.vector, items.logit, users.logit)
    )
    z = encoder.logit(users, items, batch.group_of, batch.candidate)
    p, q = users.vector[batch.group_of, :4], items.vector[batch.candidate, :4]
    own = items.vector[batch.candidate, 4] + items.vector[batch.candidate, 5]
    np.testing.assert_allclose(z, users.logit[batch.group_of] + own + (p * q).sum(1), atol=1e-5)
    assert np.isfinite(z).all() and auc(batch.label, z) > 0.6
    if not which[1]:  # a plain one: no content, no counts
        assert not items.vector[:, 5:].any() and not users.vector[:, 5].any()
    if which == ("lightgcn", False):
        assert not items.logit.any() and not users.logit.any()  # the dot product alone
    if which == ("sasrec", False):
        assert np.ptp(users.logit) == 0 and items.logit.any()  # no table of users


def test_cold_items_and_strangers(world, encoders, which):
    _, _, catalogue = world
    encoder = encoders[which]
    items = encoder.items(catalogue, np.where(np.arange(N) == 39, -1, np.arange(N)))
    assert items.known.sum() == N - 2 and not items.known[38:].any()
    history = np.array([0, 3, 6, 39], np.int32)
    users = encoder.users(np.array([5, -1, -1, 5]), items, history, np.array([0, 3, 3, 4, 4]))
    # the last history of the third is of an item that nobody met
    assert users.seen.tolist() == [True, False, False, True]
    assert users.known.tolist() == [True, False, False, True]
    assert not users.vector[1:3, :4].any() and users.vector[:, -1].tolist() == [1, 0, 0, 1]
    assert np.isfinite(encoder.logit(users, items, np.array([1, 2]), np.array([39, 38]))).all()


def test_who_came_after_the_fit_is_served_by_a_history(world, encoders, which):
    _, _, catalogue = world
    encoder = encoders[which]
    items = encoder.items(catalogue, np.arange(N))
    history = np.array([0, 3, 6, 1, 4, 7], np.int32)
    users = encoder.users(np.array([-1, -1]), items, history, np.array([0, 3, 6]))
    assert users.known.all() and not users.seen.any()
    assert np.abs(users.vector[0, :4] - users.vector[1, :4]).max() > 1e-4


def test_users_do_not_depend_on_who_is_beside_them(world, encoders, which):
    batch, user, catalogue = world
    encoder = encoders[which]
    items = encoder.items(catalogue, np.arange(N))
    whole = encoder.users(user, items, batch.history, batch.history_offsets)
    order = np.random.default_rng(0).permutation(len(batch))[:200]
    some = batch.take(order)
    part = encoder.users(user[order], items, some.history, some.history_offsets)
    np.testing.assert_allclose(part.vector, whole.vector[order], atol=1e-5)


def test_the_same_rows_give_the_same_bytes(world, encoders, which):
    a, b = encoders[which], fitted(world, *which)
    for (k, x), y in zip(a.state()[0].items(), b.state()[0].values(), strict=True):
        assert torch.equal(x, y), k
    state = torch.get_rng_state()
    fitted(world, *which, seed=1)
    assert torch.equal(state, torch.get_rng_state())  # nobody else's draws are moved


def test_state_goes_through_safetensors_and_json_bit_for_bit(world, encoders, which, tmp_path):
    from safetensors.torch import load_file, save_file

    batch, user, catalogue = world
    tensors, meta = encoders[which].state()
    save_file(tensors, tmp_path / "cf.safetensors")
    again = encoder_class(which[0]).from_state(
        load_file(tmp_path / "cf.safetensors"), json.loads(json.dumps(meta))
    )
    z = [logit_of(e, batch, user, catalogue) for e in (encoders[which], again)]
    assert np.array_equal(*z) and again.epochs == encoders[which].epochs


def test_alignment_turns_factors_and_leaves_every_logit_alone(world, encoders, which):
    batch, user, catalogue = world
    other = fitted(world, *which, seed=5)
    aligned = other.align(encoders[which])
    z = [logit_of(e, batch, user, catalogue) for e in (other, aligned)]
    np.testing.assert_allclose(*z, atol=2e-5)
    q = [
        e.items(catalogue, np.arange(N)).vector[:38, :4] for e in (other, aligned, encoders[which])
    ]
    assert np.linalg.norm(q[1] - q[2]) <= np.linalg.norm(q[0] - q[2]) + 1e-6


@pytest.mark.parametrize("cut", ["k-fold", "time-forward"])
def test_folds_never_see_their_rows(world, encoders, which, cut):
    batch, user, catalogue = world
    settings = settings_for(*which, out_of_fold=cut)
    full = encoders[which]
    folds = fit_folds(full, Examples(batch, user, U, catalogue), settings)
    groups = np.concatenate([groups for _, groups in folds])
    assert len(np.unique(groups)) == len(groups) > 0.6 * len(batch)
    encoder, own = folds[0]
    flipped = batch.label.copy()
    of = np.isin(batch.group_of, own)
    flipped[of] = 1 - flipped[of]
    again, _ = fit_folds(
        full, Examples(replace(batch, label=flipped), user, U, catalogue), settings
    )[0]
    for k, x in encoder.state()[0].items():
        assert torch.equal(x, again.state()[0][k]), k
    other = fit_folds(full, Examples(replace(batch, label=flipped), user, U, catalogue), settings)[
        -1
    ][0]
    same = [torch.equal(x, other.state()[0][k]) for k, x in folds[-1][0].state()[0].items()]
    assert not all(same)


def test_a_warm_start_takes_new_users_and_items(world, which):
    "From the fit without the newest rows, of another catalogue with other rows."
    batch, user, catalogue = world
    batch, user = batch.take(np.flatnonzero(user < U - 5)), user[user < U - 5]
    early = np.flatnonzero(np.arange(len(batch)) % 20)
    settings = settings_for(*which)
    kind = encoder_class(which[0])
    old = kind.fit(Examples(batch.take(early), user[early], U, catalogue), settings, epochs=3)
    order = np.random.default_rng(1).permutation(N)
    back = np.argsort(order).astype(np.int32)
    moved = replace(batch, candidate=back[batch.candidate], history=back[batch.history])
    later = replace(catalogue, attributes=catalogue.attributes.take(pa.array(order)))
    start = WarmStart(
        old, np.where(order == 39, -1, order), np.where(np.arange(U) < U - 9, np.arange(U), -1)
    )
    warm = kind.fit(Examples(moved, user, U, later), settings, start=start, epochs=3)
    z = logit_of(warm, moved, user, later)
    assert np.isfinite(z).all() and auc(moved.label, z) > 0.6
    scratch = kind.fit(Examples(moved, user, U, later), settings, epochs=3)
    if "iterations" in warm.arrays:
        assert warm.arrays["iterations"][0] < scratch.arrays["iterations"][0]
    if which[0] == "mf":
        np.testing.assert_allclose(z, logit_of(scratch, moved, user, later), atol=0.05)
    q = [
        e.items(c, i).vector[:, :4]
        for e, c, i in ((old, catalogue, order), (warm, later, np.arange(N)))
    ]
    assert np.linalg.norm(q[1] - q[0]) < np.linalg.norm(q[0])  # the ground is not rotated away


# --- LightGCN


@pytest.mark.parametrize("seed", range(3))
def test_propagation_is_that_of_dense_matrices(seed):
    "Eqs. 6 to 8 as they stand, with isolated users and items and a pair that occurs twice."
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 5, 12), rng.integers(0, 6, 12)
    graph = lightgcn.Graph(np.append(user, user[0]), np.append(item, item[0]), 6, 7)
    a = np.zeros((13, 13))
    a[user, 6 + item] = a[6 + item, user] = 1
    root = np.array([x**-0.5 if x else 0 for x in a.sum(0)])
    norm = root[:, None] * a * root
    e = rng.normal(size=(13, 3))
    whole = sum(np.linalg.matrix_power(norm, k) @ e for k in range(lightgcn.LAYERS + 1))
    whole = whole / (lightgcn.LAYERS + 1)
    x, v = graph.items(e)
    np.testing.assert_allclose(x, whole[6:])
    for u in range(6):
        near = a[u, 6:] > 0
        own = e[u] / (lightgcn.LAYERS + 1)
        pooled = v[near].sum(0) / max(near.sum(), 1) ** 0.5
        np.testing.assert_allclose(own + pooled, whole[u], atol=1e-12)
    dx, dv = rng.normal(size=x.shape), rng.normal(size=v.shape)
    grad = graph.gradient(dx, dv)
    to = rng.normal(size=e.shape)
    there = graph.items(e + to)  # linear: no step is too long
    change = (dx * (there[0] - x)).sum() + (dv * (there[1] - v)).sum()
    assert change == pytest.approx((grad * to).sum())


def test_its_gradient_is_that_of_finite_differences(world):
    batch, user, _ = world
    rng = np.random.default_rng(0)
    posterior = lightgcn.Posterior(batch, user, U, N, rng.normal(size=len(batch.candidate)), seed=2)
    at = rng.normal(0, 0.5, (U + N) * 3)
    _, grad = posterior(at)
    for k in rng.choice(len(at), 40, replace=False):
        step = np.zeros(len(at))
        step[k] = 1e-4
        slope = (posterior(at + step)[0] - posterior(at - step)[0]) / 2e-4
        assert slope == pytest.approx(grad[k], rel=1e-5, abs=1e-4)


# --- SASRec


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = sasrec.Network(6, 9).eval()
    torch.nn.init.normal_(network.last.weight)
    return network


def test_a_state_depends_on_nothing_after_it_nor_on_padding(network):
    m = torch.randn(2, 9, 6)
    later = m.clone()
    later[:, 5:] = torch.randn(2, 4, 6)
    with torch.inference_mode():
        a, b, short = network(m), network(later), network(m[:, :5])
    assert torch.equal(a[:, :5], b[:, :5])
    torch.testing.assert_close(short, a[:, :5])
    assert (a[:, 5:] - b[:, 5:]).abs().max() > 0.01
    moved = m.clone()
    moved[:, [1, 3]] = m[:, [3, 1]]
    with torch.inference_mode():
        assert (network(moved)[:, 4] - a[:, 4]).abs().max() > 1e-3  # order counts


@pytest.mark.parametrize("seed", range(4))
def test_shared_sequences_give_the_states_of_each_history_alone(network, seed):
    rng = np.random.default_rng(seed)
    table = torch.randn(12, 6)
    histories, now = [], []
    for _ in range(60):
        now = [] if rng.random() < 0.15 else [*now, *rng.integers(0, 12, rng.integers(0, 3))][-9:]
        histories.append(now)
    flat = np.concatenate([*histories, []]).astype(np.int32)
    offsets = np.append(0, np.cumsum([len(h) for h in histories]))
    carrier = sasrec.covering_groups(flat, offsets)
    assert len(np.unique(carrier)) < 60
    for g, c in enumerate(carrier):
        assert histories[c][: len(histories[g])] == histories[g]
    with torch.inference_mode():
        together = sasrec.states(network, table, flat, offsets)
        for g, h in enumerate(histories):
            alone = network(table[h][None])[0, -1] if h else torch.zeros(6)
            torch.testing.assert_close(together[g], alone, atol=1e-5, rtol=1e-5)


def test_only_the_newest_known_items_are_read():
    says = np.array([True, True, False, True])
    history, offsets = np.array([0, 2, 1, 3, 2, 1], np.int32), np.array([0, 4, 4, 5, 6])
    got, ends = sasrec.read_part(history, offsets, says, 2)
    assert got.tolist() == [1, 3, 1] and ends.tolist() == [0, 2, 2, 2, 3]


def test_vectors_of_who_rates_know_no_labels_and_count_a_pair_once(world):
    batch, user, _ = world
    v = bias_prior.co_rating_vectors(batch, user, U, N, 4)
    assert v.shape == (N, 4) and not v[38:].any() and v[:38].any(1).all()
    flipped = replace(batch, label=1 - batch.label)
    assert np.array_equal(bias_prior.co_rating_vectors(flipped, user, U, N, 4), v)
    twice = (batch + batch), np.append(user, user)
    np.testing.assert_allclose(bias_prior.co_rating_vectors(*twice, U, N, 4), v)
    order = np.random.default_rng(0).permutation(N)
    moved = replace(batch, candidate=np.argsort(order).astype(np.int32)[batch.candidate])
    again = bias_prior.co_rating_vectors(moved, user, U, N, 4)  # signs are free
    np.testing.assert_allclose(again @ again.T, (v @ v.T)[np.ix_(order, order)], atol=1e-6)
    assert bias_prior.co_rating_vectors(batch, user, U, N, 100).shape == (N, N - 1)
    assert bias_prior.co_rating_vectors(batch, user, U, N, 0).shape == (N, 0)


def test_biases_lean_on_vectors_as_a_prior_of_that_covariance_has_it(world):
    batch, user, catalogue = world
    batch, user = batch.take(np.arange(0, len(batch), 15)), user[::15]  # few rows an item
    settings = settings_for("sasrec", False, user_penalty=1e6)  # no biases of users
    base = fit_base(Examples(batch, user, U, catalogue), settings, 1.0, None)
    v = bias_prior.co_rating_vectors(batch, user, U, N, 3)
    lean = bias_prior.fit_biases(base, v, batch, user, U, settings).arrays
    bias = lean["item_bias"]
    assert not bias[38:].any() and np.abs(bias - base.arrays["item_bias"]).max() > 0.1
    item = batch.candidate
    force = np.bincount(item, batch.label - expit(lean["intercept"] + bias[item]), N)
    np.testing.assert_allclose(bias, force + v @ (v.T @ force), atol=0.02)
    none = bias_prior.fit_biases(base, v[:, :0], batch, user, U, settings).arrays
    np.testing.assert_allclose(none["item_bias"], base.arrays["item_bias"], atol=2e-3)


def test_the_best_epoch_is_kept(world):
    batch, user, catalogue = world
    valid = batch.take(np.arange(0, len(batch), 5)), user[::5]
    encoder = fitted(world, "sasrec", False, epochs=None, valid=valid)
    log = encoder.arrays["valid"]
    assert encoder.epochs == 1 + log[:, 0].argmax() and len(log) <= encoder.epochs + sasrec.PATIENCE
    z = logit_of(encoder, *valid, catalogue)
    assert auc(valid[0].label, z) == pytest.approx(log[:, 0].max())
    again = fitted(world, "sasrec", False, epochs=encoder.epochs)
    np.testing.assert_array_equal(logit_of(again, *valid, catalogue), z)


def test_steps_share_out_all_groups_and_never_cut_a_sequence():
    rng = np.random.default_rng(0)
    carrier = np.repeat(np.cumsum(rng.integers(1, 4, 300)) - 1, 1)
    carrier = np.repeat(carrier, np.diff(carrier, prepend=-1))
    sizes = rng.integers(1, 30, len(carrier))
    steps = sasrec._steps(carrier, sizes, rng)
    assert np.array_equal(np.sort(np.concatenate(steps)), np.arange(len(carrier)))
    for some in steps:
        assert (np.diff(some) > 0).all() and np.isin(carrier, carrier[some]).sum() == len(some)
    assert len(steps) == pytest.approx(sizes.sum() / sasrec.ROWS, abs=2)


def test_no_history_at_all(world):
    batch, user, catalogue = world
    bare = replace(
        batch, history=np.empty(0, np.int32), history_offsets=np.zeros(len(batch) + 1, np.int64)
    )
    for kind in ENCODERS:
        encoder = fitted((bare, user, catalogue), kind, True)
        items = encoder.items(catalogue, np.arange(N))
        users = encoder.users(np.array([0, -1]), items, *without_history(2))
        assert users.known.tolist() == [True, False] and np.isfinite(users.vector).all()
        nobody = encoder.users(np.empty(0, np.int32), items, *without_history(0))
        assert nobody.vector.shape == (0, 4 + OTHERS)
