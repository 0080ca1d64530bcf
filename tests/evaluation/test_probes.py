"The probes: which columns they read, what a seed fixes, what they must not know."

import numpy as np
import pytest

from ccf_batch.cf.encoder import ItemFeatures, UserFeatures
from ccf_batch.evaluation.probes import PARTS, Reweighted, SlotMLP, pair_features


@pytest.fixture
def sides():
    rng = np.random.default_rng(0)
    items, users = rng.normal(size=(6, 5)), rng.normal(size=(4, 5))  # two factors each
    logit = items[:, 2] + items[:, 3]
    known = np.ones(6, bool)
    f32 = np.float32
    return (
        UserFeatures(users.astype(f32), known[:4], known[:4], users[:, 2].astype(f32)),
        ItemFeatures(items.astype(f32), known, logit.astype(f32), np.zeros((6, 0), f32)),
    )


def test_the_parts_add_up_to_the_cf_logit(sides):
    users, items = sides
    group, item = np.array([0, 0, 3, 2]), np.array([5, 1, 1, 0])
    product = (users.vector[group, :2] * items.vector[item, :2]).sum(1)
    logit = users.logit[group] + items.logit[item] + product
    x = pair_features(users, items, group, item, logit)
    np.testing.assert_allclose(x[:, :PARTS].sum(1), logit, rtol=1e-5)
    np.testing.assert_allclose(x[:, 3], product, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(
        x[:, PARTS:], np.hstack([users.vector[group], items.vector[item]])
    )


def test_reweighted_reads_the_parts_alone():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, PARTS + 3)).astype(np.float32)
    fitted = Reweighted.fit(x, (x[:, 0] + rng.normal(size=500) > 0).astype(np.int8))
    other = x.copy()
    other[:, PARTS:] = 0
    np.testing.assert_array_equal(fitted.margin(x), fitted.margin(other))


def test_a_seed_fixes_the_mlp_and_nothing_else_is_moved():
    import torch

    rng = np.random.default_rng(2)
    x, label = rng.normal(size=(600, 8)).astype(np.float32), (rng.random(600) < 0.5).astype(np.int8)
    before = torch.get_rng_state()
    one, two, other = (SlotMLP.fit(x, label, x, (x, label), seed).margin(x) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 1e-3


def test_strangers_are_met_in_training():
    "A column that only known users have is not leaned on for strangers."
    rng = np.random.default_rng(3)
    x = rng.normal(size=(20_000, 8)).astype(np.float32)
    x[:, :PARTS] = 0
    label = (rng.random(20_000) < 1 / (1 + np.exp(-2 * x[:, 6] - x[:, 7]))).astype(np.int8)
    stranger = x.copy()
    stranger[:, 6] = 0
    net = SlotMLP.fit(x, label, stranger, (stranger, label))
    weight = np.polyfit(stranger[:, 7], net.margin(stranger), 1)[0]
    assert 0.4 < weight < 1.1


def test_where_nothing_can_be_added_it_stays_the_cf_logit():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2000, 8)).astype(np.float32)
    valid, label = x[:500], (rng.random(2000) < 0.5).astype(np.int8)
    other = (valid[:, :PARTS].sum(1) > 0).astype(np.int8)  # what the parts say, already
    net = SlotMLP.fit(x, label, x, (valid, other))
    np.testing.assert_allclose(net.margin(valid), valid[:, :PARTS].sum(1), rtol=1e-5, atol=1e-6)
