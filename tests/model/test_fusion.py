"ALG and GATE: the equations, cold entities, ragged texts, gradients."

import pytest
import torch

from ccf_batch.model.fusion import Fusion, Pool, SlotFusion

D, CI, CU = 16, 5, 3


@pytest.fixture
def fusion():
    torch.manual_seed(0)
    f = Fusion(CI, CU, D, norm=0.3).eval()
    for p in f.parameters():  # away from special starting values, the query's zero among them
        torch.nn.init.normal_(p, std=0.5)
    return f


def offsets(*lengths):
    return torch.tensor([0, *lengths]).cumsum(0)


def test_pool_is_attention_over_each_text_alone(fusion):
    x = torch.randn(9, D)
    lengths = [3, 0, 1, 5]
    got = fusion.pool(x, offsets(*lengths))
    start = 0
    for n, length in enumerate(lengths):
        text = x[start : start + length]
        weights = (text @ fusion.pool.query_d).softmax(0)
        want = weights @ text if length else fusion.pool.empty_d
        torch.testing.assert_close(got[n], want)
        start += length


def test_pool_of_no_text_at_all():
    pool = Pool(D)
    got = pool(torch.zeros(0, D), offsets(0, 0))
    torch.testing.assert_close(got, pool.empty_d.expand(2, D))


def test_pool_gradients_are_finite_beside_an_empty_text(fusion):
    x = torch.randn(4, D, requires_grad=True)
    fusion.pool(x, offsets(0, 4, 0)).square().sum().backward()
    grads = [x.grad, fusion.pool.query_d.grad, fusion.pool.empty_d.grad]
    assert all(torch.isfinite(g).all() and g.abs().sum() > 0 for g in grads)


def test_gate_is_the_papers_equation(fusion):
    c, s, side = torch.randn(7, CI), torch.randn(7, D), fusion.item
    x = (c - side.mean_C) / side.std_C
    a = side.linear(x) + side.outer(torch.nn.functional.gelu(side.inner(x)))
    g = torch.sigmoid(side.gate(torch.cat([s, a], dim=1)))
    torch.testing.assert_close(side(c, s), g * a + (1 - g) * s)
    assert g.std(dim=1).min() > 0  # a weight for each dimension, not one for all


MIXES = {
    "scalar-gate": lambda g, join, a, s: g * a + (1 - g) * s,
    "add": lambda g, join, a, s: a + s,
    "concat": lambda g, join, a, s: join,
    "collaborative-only": lambda g, join, a, s: a,
    "semantic-only": lambda g, join, a, s: s,
}


@pytest.mark.parametrize("mix", MIXES)
def test_the_other_mixtures(mix):
    torch.manual_seed(0)
    fusion = Fusion(CI, CU, D, norm=0.3, mix=mix).eval()
    side, c, s = fusion.item, torch.randn(7, CI), torch.randn(7, D)
    a = side.align(c)
    join = side.gate(torch.cat([s, a], 1)) if hasattr(side, "gate") else torch.zeros(7, 1)
    torch.testing.assert_close(side(c, s), MIXES[mix](join.sigmoid(), join, a, s))
    if mix == "scalar-gate":
        assert join.shape == (7, 1) and join.std() > 0
    known = torch.tensor([False] * 7)
    rows = fusion.items(c, known, s) / (fusion.scale / D**0.5)
    torch.testing.assert_close(rows, a if mix == "collaborative-only" else s)
    rows = fusion.users(torch.randn(7, CU), known, s, offsets(*[1] * 7)) / (fusion.scale / D**0.5)
    torch.testing.assert_close(
        rows, s if mix == "semantic-only" else fusion.unknown_user_d.expand(7, D)
    )
    back = Fusion.from_state(fusion.state_dict(), mix, "attention").eval()
    torch.testing.assert_close(back.items(c, ~known, s), fusion.items(c, ~known, s))


def test_the_mean_pool_is_the_mean_and_stays_it():
    fusion = Fusion(CI, CU, D, norm=0.3, pool="mean")
    assert not fusion.pool.query_d.requires_grad
    x = torch.randn(5, D)
    torch.testing.assert_close(fusion.pool(x, offsets(2, 3))[1], x[2:].mean(0))


def test_standardize_leaves_a_constant_feature_harmless():
    side = SlotFusion(3, D, 0.0)
    c = torch.randn(50, 3) * torch.tensor([10.0, 1.0, 0.0]) + 4
    side.standardize(c)
    x = (c - side.mean_C) / side.std_C
    torch.testing.assert_close(x.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]))
    assert side.align(c + 1).abs().max() < 100  # a new value of the constant one does not explode


def test_cold_item_is_its_text_whatever_its_cf_vector(fusion):
    s, known = torch.randn(2, D), torch.tensor([True, False])
    one, two = (fusion.items(torch.randn(2, CI), known, s) for _ in range(2))
    assert not torch.allclose(one[0], two[0])
    torch.testing.assert_close(one[1], two[1], atol=0, rtol=0)
    torch.testing.assert_close(one[1], s[1] * fusion.scale / D**0.5)


def test_users_pool_their_history_and_unknown_ones_share_a_row(fusion):
    c, s = torch.randn(4, CU), torch.randn(5, D)
    known = torch.tensor([True, False, True, False])
    rows = fusion.users(c, known, s, offsets(2, 1, 0, 2))
    side, scale = fusion.user, fusion.scale / D**0.5
    torch.testing.assert_close(rows[0], side(c[:1], s[:2].mean(0, True))[0] * scale)
    torch.testing.assert_close(rows[2], side(c[2:3], fusion.no_history_d[None])[0] * scale)
    torch.testing.assert_close(rows[1], rows[3], atol=0, rtol=0)
    torch.testing.assert_close(rows[1], fusion.unknown_user_d * scale)


def test_a_row_does_not_depend_on_its_neighbours(fusion):
    c, known, x = torch.randn(3, CI), torch.tensor([True, False, True]), torch.randn(9, D)
    off = offsets(4, 2, 3)
    together = fusion.items(c, known, fusion.semantics(x, off))
    for n in range(3):
        part = x[off[n] : off[n + 1]]
        alone = fusion.items(
            c[n : n + 1], known[n : n + 1], fusion.semantics(part, offsets(len(part)))
        )
        torch.testing.assert_close(alone[0], together[n])


@pytest.mark.parametrize("norm", [0.1, 3.0])
def test_slots_start_as_long_as_words(norm):
    torch.manual_seed(1)
    fusion = Fusion(CI, CU, 64, norm).eval()
    words = torch.randn(400, 64) * norm / 8
    s = fusion.semantics(words, torch.arange(401))
    known = torch.ones(400, dtype=torch.bool)
    for rows in (
        fusion.items(torch.randn(400, CI), known, s),
        fusion.items(torch.randn(400, CI), ~known, s),
        fusion.users(torch.randn(400, CU), known, s, torch.arange(401)),
        fusion.users(torch.randn(400, CU), ~known, s, torch.arange(401)),
    ):
        assert 0.4 < rows.norm(dim=1).mean() / norm < 1.6
