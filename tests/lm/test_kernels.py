"Ragged attention against its definition, a sequence and a head at a time."

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from ccf_batch.base.console import keep_freed
from ccf_batch.data.ragged import offsets_of
from ccf_batch.lm.kernels import (
    PaddedSequences,
    Sequences,
    VarlenSequences,
    merge_attention,
    supports_varlen,
)

CPU = torch.device("cpu")
ATOL = {torch.float32: 2e-6, torch.bfloat16: 2e-2}


def one_by_one(some: Sequences, q, k, v, scaling: float):
    "What `attend` gives, without rectangles."
    outs, sums = [], []
    R, at = q.shape[1] // k.shape[1], offsets_of(some.queries_N)
    for n in range(len(some.queries_N)):
        keys = slice(some.first_N[n], some.first_N[n] + some.keys_N[n])
        score = torch.einsum(
            "qhd,khd->hqk",
            q[at[n] : at[n + 1]].double() * scaling,
            k[keys].double().repeat_interleave(R, 1),
        )
        if some.causal:
            score = score.masked_fill(torch.ones(score.shape[1:]).triu(1).bool(), -torch.inf)
        value = v[keys].double().repeat_interleave(R, 1)
        outs.append(torch.einsum("hqk,khe->qhe", score.softmax(-1), value))
        sums.append(score.logsumexp(-1).T)
    return torch.cat(outs), torch.cat(sums)


def case(seed: int, N: int, causal: bool, even: bool, dtype=torch.float32, E: int = 8):
    "Sequences with their queries, keys and values; two query heads to each key head."
    rng = np.random.default_rng(seed)
    queries, keys = rng.integers(1, 9, (2, N)) if not even else np.full((2, N), 5)
    if causal:
        keys = queries
    first = offsets_of(keys)[:-1] if causal or even else rng.integers(0, 10, N)
    make = torch.Generator().manual_seed(seed)
    shapes = (queries.sum(), 4, 8), (int((first + keys).max()), 2, 8)
    q, k, v = (torch.randn(*shape, generator=make).to(dtype) for shape in (*shapes, shapes[1]))
    return Sequences(queries, first, keys, causal), q, k, v[..., :E]


@examples(60)
@given(
    st.integers(0, 10**6),
    st.integers(1, 6),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.float32, torch.bfloat16]),
    st.sampled_from([8, 4]),
    st.booleans(),
)
def test_it_is_softmax_attention(seed, N, causal, even, dtype, E, learning):
    some, q, k, v = case(seed, N, causal, even, dtype, E)
    where = PaddedSequences.of(some, CPU, dtype)
    assert (where.place_T is None) == (len(set(some.queries_N.tolist())) == 1)
    with torch.set_grad_enabled(learning):
        out, lse = where.attend(q, k, v, 0.4)
        whole, none = where.attend(q, k, v, 0.4, only_keys=True)
    ours, sums = one_by_one(some, q, k, v, 0.4)
    assert none is None
    for found in (out, whole):
        torch.testing.assert_close(found.double(), ours, atol=ATOL[dtype], rtol=ATOL[dtype])
    torch.testing.assert_close(lse.double(), sums, atol=ATOL[dtype], rtol=ATOL[dtype])


@pytest.mark.parametrize("causal", [True, False])
def test_gradients_are_those_of_the_definition(causal):
    some, *qkv = case(3, 5, causal, even=False)
    found = []
    for way in (PaddedSequences.of(some, CPU, torch.float32).attend, None):
        leaves = [x.clone().requires_grad_() for x in qkv]
        out, lse = way(*leaves, 0.4) if way else one_by_one(some, *leaves, 0.4)
        (out.sin().sum() + lse.cos().sum()).backward()
        found.append([x.grad for x in leaves])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("cut", [1, 4, 6])
def test_parts_merge_to_the_whole(cut):
    _, q, k, v = case(5, 1, causal=False, even=True)
    k, v = (torch.cat([x, x.flip(0)])[:7] for x in (k, v))

    def told(first, keys):
        some = Sequences(np.array([len(q)]), np.array([first]), np.array([keys]))
        return PaddedSequences.of(some, CPU, torch.float32).attend(q, k, v, 0.4)

    with torch.no_grad():
        both = merge_attention(told(0, cut), told(cut, 7 - cut))
        torch.testing.assert_close(both, told(0, 7)[0], atol=2e-6, rtol=1e-5)
    # far apart, the one with the larger scores is all there is
    (a, s), (b, t) = told(0, cut), told(cut, 7 - cut)
    torch.testing.assert_close(merge_attention((a, s + 1000), (b, t)), a, atol=1e-6, rtol=1e-5)


def test_dropout_drops_and_keeps_the_mean():
    torch.manual_seed(0)
    some, q, k, v = case(7, 3, causal=False, even=False)
    where = PaddedSequences.of(some, CPU, torch.float32)
    drawn = torch.stack([where.attend(q, k, v, 0.4, dropout=0.3)[0] for _ in range(3000)])
    with torch.no_grad():  # also where no gradient is wanted
        assert not torch.equal(*(where.attend(q, k, v, 0.4, dropout=0.3)[0] for _ in range(2)))
    exact, _ = where.attend(q, k, v, 0.4)
    assert drawn.std(0).min() > 0.01
    assert (drawn.mean(0) - exact).abs().max() < 0.1


def test_varlen_sequences_need_keys_in_order():
    some = Sequences(np.array([1, 1]), np.array([0, 0]), np.array([2, 2]))
    with pytest.raises(ValueError, match="follow"):
        VarlenSequences.of(some, CPU)


def test_only_a_gpu_takes_tokens_as_they_lie():
    with torch.no_grad():
        assert not supports_varlen(CPU, torch.bfloat16)
        assert not supports_varlen(torch.device("cuda"), torch.float32)
        assert supports_varlen(torch.device("cuda"), torch.bfloat16)
    assert not supports_varlen(torch.device("cuda"), torch.bfloat16)  # gradients are wanted


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("causal", [True, False])
def test_the_kernel_of_the_gpu_agrees(causal):
    some, *qkv = case(11, 6, causal, even=False, dtype=torch.bfloat16)
    first = offsets_of(some.keys_N)
    some = Sequences(some.queries_N, first[:-1], some.keys_N, causal)
    rng = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(n, heads, 64, generator=rng).bfloat16()
        for n, heads in ((len(qkv[0]), 4), (first[-1], 2), (first[-1], 2))
    )
    gpu = torch.device("cuda")
    with torch.no_grad():
        out, lse = VarlenSequences.of(some, gpu).attend(q.to(gpu), k.to(gpu), v.to(gpu), 0.125)
    ours, sums = one_by_one(some, q, k, v, 0.125)
    torch.testing.assert_close(out.cpu().double(), ours, atol=2e-2, rtol=2e-2)
    torch.testing.assert_close(lse.cpu().double(), sums, atol=2e-2, rtol=2e-2)


def test_where_there_is_no_such_allocator_nothing_is_told(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    assert keep_freed() is False
