"The packed engine against the models' own forward pass on prompts written out in full."

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.attention.varlen
from hypothesis import given
from hypothesis import strategies as st
from properties import examples
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

from ccf_batch.base.errors import InputError
from ccf_batch.data.ragged import offsets_of
from ccf_batch.lm import packed as engine_module
from ccf_batch.lm.attention import layout_of
from ccf_batch.lm.base_files import Source
from ccf_batch.lm.causal_lm import LM, attention_cap, measure_logits, with_lora
from ccf_batch.lm.kernels import PaddedSequences, Sequences
from ccf_batch.lm.packed import PackedEngine, check_parity, full_prompts, packed_margins, packs
from ccf_batch.lm.prompt import Groups, Suffixes, compact
from ccf_batch.settings import Settings

V, B, ITEMS, D = 96, 8, 12, 32
SHAPE = {
    "vocab_size": V,
    "hidden_size": D,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "max_position_embeddings": 256,
    "pad_token_id": None,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
CONFIGS = {
    "llama": LlamaConfig(**SHAPE, num_attention_heads=4, num_key_value_heads=4),
    "llama-gqa": LlamaConfig(**SHAPE, num_attention_heads=4, num_key_value_heads=2),
    "llama-tied": LlamaConfig(**SHAPE, num_attention_heads=2, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SHAPE, num_attention_heads=4, num_key_value_heads=1, head_dim=16),
    "qwen2": Qwen2Config(**SHAPE, num_attention_heads=4, num_key_value_heads=2),
    "gpt2": GPT2Config(
        vocab_size=V, n_embd=D, n_layer=2, n_head=4, n_positions=256, bos_token_id=0, eos_token_id=1
    ),
    "gemma2": Gemma2Config(  # both its attention and its logits are capped
        **SHAPE,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "cohere": CohereConfig(**SHAPE, num_attention_heads=4, logit_scale=0.25),
    "granite": GraniteConfig(**SHAPE, num_attention_heads=4, logits_scaling=8.0),
}


def lm_of(config, dtype=torch.float32) -> LM:
    torch.manual_seed(0)
    capped = {} if attention_cap(config) is None else {"attn_implementation": "eager"}
    model = AutoModelForCausalLM.from_config(config, **capped).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 2:  # wide enough that attention matters
                p.normal_(std=1.0 if "embed" in name or "wte" in name else 0.15)
    logits, model = measure_logits(model, "x"), model.to(dtype)
    return LM(model, None, 5, 9, dtype, "", Source(kind="nano"), logits)


@pytest.fixture(scope="module")
def llama() -> LM:
    return lm_of(CONFIGS["llama-gqa"])


def case(seed=0, G=5, most=6):
    "Random groups with slots in prefixes and suffixes, of uneven lengths; slot rows."
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 6, size=ITEMS)
    suffix = rng.integers(V, size=lengths.sum()).astype(np.int32)
    suffix[offsets_of(lengths)[:-1]] = V + B + np.arange(ITEMS)
    prefix = [rng.integers(V, size=rng.integers(2, 20)).astype(np.int32) for _ in range(G)]
    for g, p in enumerate(prefix):
        p[0] = V + g
        p[1] = V + B + rng.integers(ITEMS)
    counts = rng.integers(1, most + 1, size=G)
    groups = Groups(
        prefix_ids=np.concatenate(prefix),
        prefix_offsets=offsets_of([len(p) for p in prefix]),
        candidate=rng.integers(ITEMS, size=counts.sum()).astype(np.int32),
        candidate_offsets=offsets_of(counts),
        offset=rng.normal(size=counts.sum()).astype(np.float32),
        rejected=np.zeros(counts.sum(), bool),
        vocab_rows=V,
        block=B,
    )
    generator = torch.Generator().manual_seed(seed)
    users, items = (
        torch.randn(B, D, generator=generator),
        torch.randn(ITEMS, D, generator=generator),
    )
    return groups, Suffixes(suffix, offsets_of(lengths)), users, items


def plain(lm, groups, suffixes, users, items):
    "Margins of the prompts written out, one by one, by the model's own forward and whole head."
    table = torch.cat([lm.embed(torch.arange(V)), users, items])
    out = []
    for ids, offset in zip(full_prompts(groups, suffixes), groups.offset, strict=True):
        logits = lm.model(inputs_embeds=table[torch.from_numpy(ids)][None]).logits[0, -1].float()
        out.append(logits[lm.yes_id] - logits[lm.no_id] + float(offset))
    return torch.stack(out)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_margins_are_the_models_own(name):
    lm = lm_of(CONFIGS[name])
    before = lm.base.config._attn_implementation
    for seed in range(3):
        groups, suffixes, users, items = case(seed)
        with torch.no_grad():
            ours = packed_margins(lm, users, items, groups, suffixes)
            theirs = plain(lm, groups, suffixes, users, items)
        assert theirs.std() > 0.3  # they do differ from one another
        assert torch.allclose(ours, theirs, atol=1e-4)
        # with gradients the last layer is computed for all tokens
        assert torch.allclose(ours, packed_margins(lm, users, items, groups, suffixes), atol=1e-4)
    assert check_parity(lm, 64).largest < 1e-4
    assert lm.base.config._attn_implementation == before  # put back


def test_bf16_within_its_tolerance():
    lm = lm_of(CONFIGS["llama-gqa"], torch.bfloat16)
    groups, suffixes, users, items = case()
    users, items = users.bfloat16(), items.bfloat16()
    with torch.no_grad():
        ours = packed_margins(lm, users, items, groups, suffixes)
        theirs = plain(lm, groups, suffixes, users, items)
    assert ours.dtype == torch.float32
    assert (ours - theirs).abs().max() < 0.1
    check_parity(lm, 64)


def test_gradients_are_those_of_full_prompts(llama):
    groups, suffixes, users, items = case(4)
    weight = llama.base.model.layers[0].self_attn.k_proj.weight
    found = []
    for margins in (packed_margins, lambda lm, u, i, g, s: plain(lm, g, s, u, i)):
        rows = users.clone().requires_grad_(), items.clone().requires_grad_()
        llama.model.zero_grad()
        margins(llama, *rows, groups, suffixes).sigmoid().sum().backward()
        found.append([rows[0].grad, rows[1].grad, weight.grad.clone()])
    llama.model.zero_grad()
    for ours, theirs in zip(*found, strict=True):
        assert theirs.abs().max() > 1e-3
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_adapters_are_active_and_train(llama):
    groups, suffixes, users, items = case(5)
    lm = with_lora(lm_of(CONFIGS["qwen3"]), Settings())
    with torch.no_grad():
        before = packed_margins(lm, users, items, groups, suffixes)
        for name, p in lm.model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.2)
        after = packed_margins(lm, users, items, groups, suffixes)
        assert (before - after).abs().max() > 1e-2
        assert torch.allclose(after, plain(lm, groups, suffixes, users, items), atol=1e-4)
    packed_margins(lm, users, items, groups, suffixes).sum().backward()
    graded = {n for n, p in lm.model.named_parameters() if p.grad is not None}
    assert graded and all("lora_" in n for n in graded)


def test_one_candidates_slot_moves_its_margin_alone(llama):
    groups, suffixes, users, items = case(6)
    used_in_prefix = groups.prefix_ids[groups.prefix_ids >= V + B] - V - B
    free = np.setdiff1d(groups.candidate, used_in_prefix)[0]
    with torch.no_grad():
        before = packed_margins(llama, users, items, groups, suffixes)
        items[free] += 1.0
        after = packed_margins(llama, users, items, groups, suffixes)
    moved = (before != after).numpy()
    assert moved.tolist() == (groups.candidate == free).tolist()


def test_rows_that_do_not_occur_are_not_read(llama):
    groups, suffixes, users, items = case(7, G=2, most=2)
    small, small_suffixes, user_at, item_at = compact(groups, suffixes)
    with torch.no_grad():
        whole = packed_margins(llama, users, items, groups, suffixes)
        part = packed_margins(llama, users[user_at], items[item_at], small, small_suffixes)
        unused = np.setdiff1d(np.arange(ITEMS), item_at)
        assert len(unused)
        items[unused] = torch.nan
        users[2:] = torch.nan
        again = packed_margins(llama, users, items, groups, suffixes)
    assert torch.equal(whole, again)
    assert torch.allclose(whole, part, atol=1e-6)


def test_order_and_batching_do_not_matter(llama):
    groups, suffixes, users, items = case(8, G=8, most=9)
    C = len(groups.candidate)
    reference = PackedEngine(llama, suffixes, items, 10**6, 64).score(groups, users)
    for budget in (64, 100, 200):
        engine = PackedEngine(llama, suffixes, items, budget, 64)
        assert np.allclose(engine.score(groups, users), reference, atol=1e-5)
    rng = np.random.default_rng(0)
    # candidates shuffled within their groups
    order = np.concatenate(
        [
            rng.permutation(np.arange(a, b))
            for a, b in zip(groups.candidate_offsets, groups.candidate_offsets[1:], strict=False)
        ]
    )
    fields = vars(groups) | {"candidate": groups.candidate[order], "offset": groups.offset[order]}
    shuffled = PackedEngine(llama, suffixes, items, 10**6, 64).score(Groups(**fields), users)
    assert np.allclose(shuffled, reference[order], atol=1e-5)
    # groups the other way round
    parts = [groups.take(np.flatnonzero(groups.group_of == g)) for g in range(8)][::-1]
    turned = Groups(
        prefix_ids=np.concatenate([p.prefix_ids for p in parts]),
        prefix_offsets=offsets_of([len(p.prefix_ids) for p in parts]),
        candidate=np.concatenate([p.candidate for p in parts]),
        candidate_offsets=offsets_of([len(p.candidate) for p in parts]),
        offset=np.concatenate([p.offset for p in parts]),
        rejected=np.zeros(C, bool),
        vocab_rows=V,
        block=B,
    )
    backwards = PackedEngine(llama, suffixes, items, 10**6, 64).score(turned, users)
    expected = np.concatenate([reference[groups.group_of == g] for g in range(8)[::-1]])
    assert np.allclose(backwards, expected, atol=1e-5)


def test_the_same_batch_gives_the_same_bytes(llama):
    groups, suffixes, users, items = case(9)
    first = PackedEngine(llama, suffixes, items, 100, 64).score(groups, users)
    again = PackedEngine(llama, suffixes, items, 100, 64).score(groups, users)
    assert first.tobytes() == again.tobytes()


def test_rejected_pairs_have_no_margin_and_tokens_are_counted(llama):
    groups, suffixes, users, items = case(10)
    rejected = np.zeros(len(groups.candidate), bool)
    rejected[groups.group_of == 1] = True  # a whole group
    rejected[0] = True
    some = Groups(**(vars(groups) | {"rejected": rejected}))
    engine = PackedEngine(llama, suffixes, items, 10**6, 64)
    found = engine.score(some, users)
    whole = PackedEngine(llama, suffixes, items, 10**6, 64).score(groups, users)
    assert np.isnan(found).tolist() == rejected.tolist()
    assert np.allclose(found[~rejected], whole[~rejected], atol=1e-5)
    kept = some.take(np.flatnonzero(~rejected))
    own = suffixes.lengths[kept.candidate].sum()
    assert engine.tokens == own + len(kept.prefix_ids)
    assert some.tokens(suffixes).unshared == sum(map(len, full_prompts(kept, suffixes)))
    assert some.tokens(suffixes).least == engine.tokens  # one pack
    none = Groups(**(vars(groups) | {"rejected": np.ones_like(rejected)}))
    assert np.isnan(engine.score(none, users)).all()


@pytest.mark.quick
@examples(100)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 30), st.integers(1, 300))
def test_packs_hold_each_pair_once_and_fit(seed, G, most, budget):
    groups, suffixes, _, _ = case(seed, min(G, B), most)
    rng = np.random.default_rng(seed)
    rejected = rng.random(len(groups.candidate)) < 0.2
    groups = Groups(**(vars(groups) | {"rejected": rejected}))
    parts = packs(groups, suffixes, budget)
    joined = np.concatenate(parts) if parts else np.empty(0, int)
    assert joined.tolist() == np.flatnonzero(~rejected).tolist()
    for pairs in parts:
        part = groups.take(pairs)
        layout = layout_of(part, suffixes)
        assert len(layout.ids) <= budget or len(pairs) == 1
        # each suffix token is a query of one tile, and of its own candidate, after its own prefix
        own = len(layout.ids) - len(part.prefix_ids)
        assert layout.far.queries_N.sum() == layout.near.queries_N.sum() == own
        tile = np.repeat(np.arange(len(layout.far.queries_N)), layout.far.queries_N)
        group = np.searchsorted(part.prefix_offsets, layout.far.first_N, side="right") - 1
        mine = np.repeat(part.group_of, suffixes.lengths[part.candidate])
        assert group[tile].tolist() == mine.tolist()
        assert layout.far_last.queries_N.sum() == len(pairs)


@pytest.mark.parametrize(
    "config",
    [
        BloomConfig(vocab_size=V, hidden_size=D, n_layer=2, n_head=4),  # ALiBi
        Qwen2Config(  # slides over 4 tokens
            **SHAPE,
            num_attention_heads=4,
            num_key_value_heads=2,
            use_sliding_window=True,
            sliding_window=4,
            max_window_layers=0,
        ),
    ],
    ids=["bloom", "sliding"],
)
def test_what_cannot_be_packed_is_refused(config):
    with pytest.raises(InputError, match=r"packed|attention|differ"):
        check_parity(lm_of(config), 64)


def test_uneven_groups_make_small_tiles(llama):
    "One group of 30 and many of 1: padding stays bounded, margins right."
    rng = np.random.default_rng(0)
    groups, suffixes, users, items = case(11, G=B, most=1)
    counts = np.array([30] + [1] * (B - 1))
    fields = vars(groups) | {
        "candidate": rng.integers(ITEMS, size=counts.sum()).astype(np.int32),
        "candidate_offsets": offsets_of(counts),
        "offset": np.zeros(counts.sum(), np.float32),
        "rejected": np.zeros(counts.sum(), bool),
    }
    groups = Groups(**fields)
    tiles = layout_of(groups, suffixes).far_last.queries_N
    assert len(tiles) * tiles.max() <= 2.5 * counts.sum()
    with torch.no_grad():
        ours = packed_margins(llama, users, items, groups, suffixes)
        assert torch.allclose(ours, plain(llama, groups, suffixes, users, items), atol=1e-4)


def kernel_in_its_place(q, k, v, from_q, from_k, max_q, max_k, **given):
    "What the kernel of the GPU is documented to do, on the CPU."
    queries, keys = np.diff(from_q.numpy()), np.diff(from_k.numpy())
    assert (max_q, max_k) == (queries.max(), keys.max()) and len(q) == queries.sum()
    assert len(k) == len(v) == keys.sum() and (q.shape[1] == k.shape[1] or given["enable_gqa"])
    causal = given["window_size"] == (-1, 0)
    some = Sequences(queries, offsets_of(keys)[:-1], keys, causal)
    out, lse = PaddedSequences.of(some, q.device, q.dtype).attend(q, k, v, given["scale"])
    return out, lse.T


@pytest.mark.parametrize("name", ["llama", "llama-gqa", "qwen3"])
def test_tokens_as_they_lie_give_the_same_margins(monkeypatch, name):
    "The layout that a GPU is given, with what its kernel is documented to do in the kernel's place."
    lm = lm_of(CONFIGS[name])
    groups, suffixes, users, items = case(13)
    with torch.no_grad():
        ours = packed_margins(lm, users, items, groups, suffixes)
        monkeypatch.setattr(engine_module, "supports_varlen", lambda device, dtype: True)
        monkeypatch.setattr(torch.nn.attention.varlen, "varlen_attn", kernel_in_its_place)
        theirs = packed_margins(lm, users, items, groups, suffixes)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert ours.std() > 0.01


def test_half_a_block_of_users_is_enough(llama):
    groups, suffixes, users, items = case(12, G=3)
    with torch.no_grad():
        few = packed_margins(llama, users[:3], items, groups, suffixes)
        assert torch.equal(few, packed_margins(llama, users, items, groups, suffixes))
    assert SimpleNamespace(**vars(groups)).block == B
