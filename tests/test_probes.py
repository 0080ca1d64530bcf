"The probes: which columns they read, what a seed fixes, what they must not know."

import numpy as np
import pytest

from ccf_batch.cf import ItemFeatures, UserFeatures
from ccf_batch.probes import PARTS, Reweighted, SlotMLP, pair_features


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
    one, two, other = (SlotMLP.fit(x, label, (x, label), seed).margin(x) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 1e-3
