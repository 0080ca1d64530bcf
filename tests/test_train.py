"Training: steps, stages, what is kept, and going on after a kill as if nothing had happened."

import dataclasses
import functools
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from ccf_batch import train
from ccf_batch.base.console import main
from ccf_batch.base.settings_file import load as load_settings
from ccf_batch.data.assemble import Assembly
from ccf_batch.data.database import connect
from ccf_batch.lm import causal_lm
from ccf_batch.model import bundle, trainer
from ccf_batch.model.fit import fit_encoder, language_model
from ccf_batch.model.scorer import Scorer

AGAIN = ("--candidates.exclude-seen", "none")  # of random ratings many repeat
CUT = "2026-03-03"  # the day after the tiny lake ends, about
NANO = functools.partial(causal_lm.nano, steps=3)  # its text is not what is tested here


def train_in(config, *flags):
    return main(train.TrainCommand, train.run, "train", argv=["--config", str(config), *flags])


def bundles(config):
    return sorted(p.name for p in (config.parent / "bundles").glob("2*"))


@pytest.fixture(autouse=True)
def quick_nano(monkeypatch):
    monkeypatch.setattr(causal_lm, "nano", NANO)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    "A workspace with a tiny lake; copy nothing: each test has bundles of its own."
    return tiny.write_workspace(tmp_path_factory.mktemp("lake"))


@pytest.fixture
def config(lake, tmp_path):
    "Settings in a fresh workspace over the shared lake."
    (tmp_path / "ccf.toml").write_text(f'paths.lake = "{lake.parent / "lake"}"\n' + tiny.CONFIG)
    return tmp_path / "ccf.toml"


@pytest.mark.quick
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40),
    folds=st.integers(1, 4),
    examples=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_deal_shares_out_all_groups_each_step_from_one_fold(sizes, folds, examples, seed):
    rng = np.random.default_rng(seed)
    fold = rng.integers(0, folds, len(sizes))
    sizes = np.array(sizes)
    steps = trainer.draw_steps(sizes, fold, examples, rng)
    assert sorted(np.concatenate([g for _, g in steps])) == list(range(len(sizes)))
    for k, groups in steps:
        assert len(groups) and (fold[groups] == k).all()
        assert sizes[groups].sum() < examples + sizes[groups].max()
    again = trainer.draw_steps(sizes, fold, examples, np.random.default_rng(seed + 1))
    assert sorted(len(g) for _, g in again)  # another order is another deal, and that is all


def test_a_bundle_from_the_tables(config, capsys):
    assert train_in(config, "--no-train.refit") == 0  # the refit has seen the validation rows
    (name,) = bundles(config)
    loaded = bundle.load(config.parent / "bundles" / name)
    out = capsys.readouterr().out
    m = loaded.metadata.metrics
    assert "CF logit alone" in out and f"{m['valid_auc']:.4f}" in out
    assert f"python -m ccf_batch.score --config {config} --date 2026-03-0" in out
    assert m["valid_auc"] >= m["valid_cf_auc"] > 0.6  # epoch 0 competes
    # what the summary says of the kept state is what the bundle says of the same rows
    settings = load_settings(config=config)
    assembly = Assembly(connect(), settings)
    valid = assembly.examples("valid")
    scored = Scorer(loaded.model, assembly.catalogue()).score(valid)
    assert m["valid_rows"] == len(valid.candidate)
    from ccf_batch.metrics import auc

    assert auc(valid.label, scored.margin) == pytest.approx(m["valid_auc"], abs=1e-9)
    assert loaded.trained_until == assembly.cutoff
    assert not (config.parent / "bundles" / ".training.safetensors").exists()
    page = config.parent / f"evaluations/trained/{name}.html"
    assert f"what it was chosen by: {page}" in out
    for words in ("Replayed nights", "ranker: blend", "rank_popular", "the best simple list"):
        assert words in page.read_text("utf-8"), words


@pytest.mark.parametrize(
    "flags",
    [
        ["--cf.encoder", "lightgcn"],
        ["--cf.encoder", "sasrec", "--no-cf.content", "--prompt.history-length", "0"],
        ["--cf.out-of-fold", "time-forward", "--train.max-examples", "900", *AGAIN],
        ["--cf.out-of-fold", "in-sample", "--no-cf.history"],
    ],
    ids=lambda flags: " ".join(flags[:2]),
)
def test_each_encoder_and_each_kind_of_vectors_goes_into_a_bundle(config, capsys, flags):
    assert train_in(config, "--train.epochs", "1", *flags) == 0
    (name,) = bundles(config)
    out = capsys.readouterr().out
    m = bundle.load(config.parent / "bundles" / name).model
    assert type(m.cf).__name__.lower() == m.settings.cf.encoder
    assert ("epochs, by AUC" in out) == (m.settings.cf.encoder == "sasrec")
    if "time-forward" in flags:
        # rows that the LM leaves out are there for the encoders before it
        assert re.search(r"900 examples, \d+ older ones left out \(train.max_examples\)", out)
        assert "no encoder was fitted" not in out
    assembly = Assembly(connect(), m.settings, None)
    valid = assembly.examples("valid")
    scored = Scorer(m, assembly.catalogue()).score(valid)
    from ccf_batch.metrics import auc

    assert auc(valid.label, scored.cf_logit) > 0.55 and np.isfinite(scored.margin).all()
    lengths = np.diff(valid.history_offsets)
    reads = m.settings.cf.encoder != "mf" or m.settings.cf.history
    assert (lengths.max() > 10) == reads  # more than the prompt shows


def test_nothing_at_or_after_the_date_is_seen(config):
    assert train_in(config, "--date", "2026-02-10") == 0
    assert bundles(config)[0].startswith("2026-02-10-")
    early = Assembly(connect(), load_settings(config=config), None)
    ids = early.examples("train").user_id
    assert len(ids)  # there are rows after it
    path = config.parent / "bundles" / bundles(config)[0]
    counts = bundle.load(path).model.cf.arrays["item_count"]
    import datetime as dt

    known = Assembly(connect(), load_settings(config=config), dt.date(2026, 2, 10))
    assert counts.sum() == sum(len(known.examples(k).candidate) for k in ("train", "valid"))


def answering(config):
    "A model whose answer depends on everything, though it has learned nothing; its examples."
    settings = train.TrainCommand(**load_settings(config=config).saved())
    settings._workspace = config.parent
    assembly = Assembly(connect(), settings)
    catalogue, batch = assembly.catalogue(), assembly.examples("train")
    cf, users, _ = fit_encoder(batch, catalogue, settings)
    from ccf_batch.data.batch import rows_of
    from ccf_batch.model.ccf import untrained

    model = untrained(
        settings, language_model(catalogue, settings), cf, catalogue, users, assembly.cutoff
    )
    torch.manual_seed(0)
    with torch.no_grad():
        model.lm.model.lm_head.weight.normal_(std=0.3)
        model.answer.scale.fill_(0.8)
        model.answer.bias.fill_(0.1)
    model.fusion.eval()
    return model, catalogue, batch, rows_of(batch.user_id, users)


def forward(model, catalogue, batch, user):
    prompts = model.prompts()
    side = model.prepare_items(prompts, catalogue)
    groups = prompts.groups(side.texts, batch)
    kept = np.arange(len(batch.candidate))
    return trainer.forward(model, model.cf, side, user, batch, groups, kept), groups


def test_training_scores_as_scoring_does(config):
    "Dropout aside, the forward pass of a step gives the margins that a night gives."
    model, catalogue, batch, user = answering(config)
    some = np.arange(60, 0, -2)
    batch, user = batch.take(some), user[some]
    assert np.diff(batch.history_offsets).max() > model.settings.prompt.history_length
    (part, logit), _ = forward(model, catalogue, batch, user)
    scored = Scorer(model, catalogue).score(batch)
    np.testing.assert_allclose(logit.numpy(), scored.cf_logit, atol=1e-6)
    np.testing.assert_allclose((part + logit).detach().numpy(), scored.margin, atol=2e-5)
    assert part.std() > 0.01


def rows_alone(batch):
    "Each candidate in a group of its own."
    alone = batch.take(batch.group_of)  # a copy of its group for each candidate
    first = np.cumsum(np.diff(alone.candidate_offsets)) - np.diff(alone.candidate_offsets)
    rank = np.arange(len(batch.candidate)) - batch.candidate_offsets[batch.group_of]
    pick = first + rank
    ones = np.arange(len(pick) + 1)
    return dataclasses.replace(
        alone, candidate=alone.candidate[pick], label=alone.label[pick], candidate_offsets=ones
    )


@pytest.mark.parametrize("template", ["compact", "full", "text"])
def test_packed_groups_have_the_gradients_of_single_rows(config, template):
    "What is shared in a pass is computed once, and learned from as often as it is used."
    model, catalogue, batch, user = answering(config)
    model = dataclasses.replace(model, template=template)
    largest = np.argsort(-np.diff(batch.candidate_offsets), kind="stable")[:12]
    batch, user = batch.take(largest), user[largest]
    assert len(batch.candidate) > 20
    grads, tokens = [], []
    for rows, of in ((batch, user), (rows_alone(batch), user[batch.group_of])):
        (part, logit), groups = forward(model, catalogue, rows, of)
        label = torch.from_numpy(rows.label).to(part)
        parameters = trainer.trainable_parameters(model)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(part + logit, label)
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        grads.append(dict(zip(parameters, found, strict=True)))
        tokens.append(len(groups.prefix_ids))
    packed, single = grads
    for name in packed:
        assert (packed[name] is None) == (single[name] is None), name
        if packed[name] is not None:
            torch.testing.assert_close(packed[name], single[name], atol=1e-6, rtol=1e-4)
    assert tokens[0] < 0.7 * tokens[1]


def test_a_frozen_prefix_changes_no_gradient(config):
    "Where the LM is frozen and only the candidate has a slot, prefixes are computed apart."
    model, catalogue, batch, user = answering(config)
    model = dataclasses.replace(model, template="target")
    batch, user = batch.take(np.arange(15)), user[:15]
    prompts = model.prompts()
    side = model.prepare_items(prompts, catalogue)
    groups = prompts.groups(side.texts, batch)
    assert groups.prefix_ids.max() < groups.vocab_rows  # words alone
    learn = list(model.fusion.item.parameters())
    of, kept = (model, model.cf, side, user, batch, groups), np.arange(len(batch.candidate))
    parts, grads = [], []
    for frozen in (False, True):
        part, _ = trainer.forward(*of, kept, frozen)
        grads.append(torch.autograd.grad(part.square().sum(), learn))
        parts.append(part.detach())
    torch.testing.assert_close(*parts, atol=1e-5, rtol=1e-5)
    for one, two in zip(*grads, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
    assert max(g.abs().max() for g in grads[0]) > 1e-3


def test_folds_never_see_their_own_rows(config):
    settings = load_settings(config=config)
    assembly = Assembly(connect(), settings)
    batch, catalogue = assembly.examples("train"), assembly.catalogue()
    _, _, folds = fit_encoder(batch, catalogue, settings)
    assert sorted(np.concatenate([groups for _, groups in folds])) == list(range(len(batch)))


def test_the_same_inputs_give_the_same_bundle(config, tmp_path):
    assert train_in(config) == train_in(config) == 0
    assert len(bundles(config)) == 1
    assert not torch.are_deterministic_algorithms_enabled()  # as it was before
    assert train_in(config, "--train.seed", "1") == 0
    assert len(bundles(config)) == 2


WRAPPED = """
import functools, sys
from ccf_batch import train
from ccf_batch.base.console import main
from ccf_batch.lm import causal_lm
causal_lm.nano = functools.partial(causal_lm.nano, steps=3)
raise SystemExit(main(train.TrainCommand, train.run, "train"))
"""


def test_killed_after_an_epoch_it_ends_with_the_same_bytes(config, capsys):
    flags = ["--config", str(config), "--train.epochs", "4"]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    state = config.parent / "bundles" / ".training.safetensors"
    child = subprocess.Popen(
        [sys.executable, "-c", WRAPPED, *flags],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not state.exists():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not bundles(config) and state.exists()
    resumed = subprocess.run(
        [sys.executable, "-c", WRAPPED, *flags], env=env, capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after epoch" in resumed.stdout
    (first,) = bundles(config)
    files = (config.parent / "bundles" / first).rglob("*")
    before = {p: p.read_bytes() for p in files if p.is_file() and p.name != "bundle.json"}
    whole = subprocess.run(
        [sys.executable, "-c", WRAPPED, *flags], env=env, capture_output=True, text=True
    )
    assert whole.returncode == 0 and "resuming" not in whole.stdout
    assert bundles(config) == [first]
    assert {p: p.read_bytes() for p in before} == before


def test_a_state_of_other_settings_is_not_gone_on_with(config, capsys, monkeypatch):
    saved = trainer.State.save
    monkeypatch.setattr(trainer.State, "save", lambda self, *a: (saved(self, *a), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        train_in(config)
    monkeypatch.setattr(trainer.State, "save", saved)
    assert train_in(config, "--train.learning-rate", "0.002") == 0
    assert "starting over" in capsys.readouterr().out
    with monkeypatch.context() as m, pytest.raises(ZeroDivisionError):
        m.setattr(trainer.State, "save", lambda self, *a: (saved(self, *a), 1 / 0))
        train_in(config)
    assert train_in(config, "--no-resume") == 0
    out = capsys.readouterr().out
    assert "resuming" not in out and "starting over" not in out


@pytest.mark.parametrize("offset", [True, False])
def test_two_stages_on_a_pretrained_base(config, offset, monkeypatch):
    "Words first, with the adapter alone; then slots, with the adapter frozen; the base never."
    tiny.write_base(config.parent / "qwen3")
    text = config.read_text().replace("[model]\n", '[model]\nbase = "qwen3"\n')
    config.write_text(text.replace("[train]\n", f"[train]\noffset = {str(offset).lower()}\n"))
    seen = []
    stage = trainer.Trainer._run_stage

    def watched(self, s):
        weights = {n: p.detach().clone() for n, p in self.model.lm.model.named_parameters()}
        before = trainer.copies(self.parameters)
        stage(self, s)
        changed = {n for n, p in self.parameters.items() if not torch.equal(p, before[n])}
        base = {
            n
            for n, p in self.model.lm.model.named_parameters()
            if "lora_" not in n and not torch.equal(p, weights[n])
        }
        seen.append((s.name, s.template, {n.split(".")[0] for n in changed}, base))

    monkeypatch.setattr(trainer.Trainer, "_run_stage", watched)
    assert train_in(config) == 0
    assert [s[:2] for s in seen] == [("text", "text"), ("slots", "full")]
    assert seen[0][2] == {"lm", "answer"} and seen[1][2] == {"fusion", "answer"}
    assert seen[0][3] == seen[1][3] == set()
    (name,) = bundles(config)
    loaded = bundle.load(config.parent / "bundles" / name)
    assert loaded.model.template == "full" and loaded.model.lm.adapted


def states(out):
    "Of the printed table: training loss (none for epoch 0), AUC, UAUC and log loss of each state."
    lines = [line.split() for line in out.splitlines() if ":" not in line]
    return [[float(x) for x in line[3:]] for line in lines if line[:2] == ["joint,", "epoch"]]


def test_beside_an_offset_training_starts_at_the_cf_logit(config, capsys):
    assert train_in(config) == 0
    out = capsys.readouterr().out
    (cf,) = [line.split()[-3:] for line in out.splitlines() if "CF logit alone  " in line]
    assert states(out)[0] == [float(x) for x in cf]


def test_without_an_offset_it_learns_what_the_encoder_knows(config, capsys):
    flags = ["--no-train.offset", "--train.epochs", "8", "--train.batch-examples", "32"]
    assert train_in(config, *flags, "--train.learning-rate", "0.003") == 0
    first, *rest = states(capsys.readouterr().out)
    assert first[0] == 0.5  # it knows nothing yet
    assert rest[-1][0] < rest[0][0] - 0.03  # training loss
    assert max(r[1] for r in rest) > 0.6


def test_without_likes_nothing_can_be_learned(tmp_path, capsys):
    config = tiny.write_workspace(
        tmp_path, tiny.CONFIG.replace("liked_above = 3", "liked_above = 9")
    )
    assert train_in(config) == 2
    err = capsys.readouterr().err
    assert "both likes and dislikes are needed" in err and "domain.liked_above" in err


def test_where_all_are_likes_negatives_are_sampled(tmp_path, capsys):
    config = tiny.write_workspace(
        tmp_path, tiny.CONFIG.replace("liked_above = 3", "liked_above = 0")
    )
    assert train_in(config) == 0
    examples, likes = re.search(
        r"train: ([\d,]+) examples of .*, ([\d,]+) likes", capsys.readouterr().out
    ).groups()
    assert int(likes.replace(",", "")) < int(examples.replace(",", ""))


@pytest.mark.parametrize(
    "base, reason",
    [
        ("org/name", "model.revision is needed"),
        ("./nowhere", "there is no such folder"),
        ("nowhere.gguf", "there is no such file"),
        (".", "no *.safetensors in"),
    ],
)
def test_a_base_that_is_missing_is_refused_before_anything_is_read(config, capsys, base, reason):
    assert train_in(config, "--model.base", base) == 2
    captured = capsys.readouterr()
    assert reason in captured.err and "Reading" not in captured.out


def test_a_pretrained_base_is_checked_first_and_described(config, capsys):
    tiny.write_base(config.parent / "qwen3")
    assert train_in(config, "--model.base", "qwen3", "--train.max-steps", "1") == 0
    out = capsys.readouterr().out
    assert out.index("Checking the base qwen3") < out.index("Choosing the first-stage ranker")
    assert "Qwen3ForCausalLM, " in out and "LoRA adapts q_proj, v_proj" in out


def test_only_one_at_a_time(config, capsys):
    from ccf_batch.base import atomic

    with atomic.lock(config.parent / "bundles" / ".lock", "a training"):
        assert train_in(config) == 2
    assert "a training is under way" in capsys.readouterr().err


def test_divergence_is_said_plainly(config, capsys):
    assert train_in(config, "--train.learning-rate", "1e30") == 2
    assert "lower train.learning_rate" in capsys.readouterr().err


def test_prompts_that_never_fit_are_said_plainly(config, capsys):
    flags = ["--prompt.template", "full", "--prompt.max-tokens", "16"]
    assert train_in(config, *flags) == 2
    assert "prompt.max_tokens" in capsys.readouterr().err


def test_what_is_served_knows_validation_rows_too(config):
    assert train_in(config) == train_in(config, "--no-train.refit") == 0
    found = [bundle.load(config.parent / "bundles" / name).model for name in bundles(config)]
    served, fitted = sorted(found, key=lambda m: not m.settings.train.refit)
    for ours, theirs in zip(served.fusion.parameters(), fitted.fusion.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    counts = [m.cf.arrays["item_count"].sum() for m in (served, fitted)]
    known = Assembly(connect(), load_settings(config=config))
    valid = len(known.examples("valid").candidate)
    assert counts[0] - counts[1] == valid > 0
    assert set(fitted.user_ids.to_pylist()) <= set(served.user_ids.to_pylist())
    here, there = (m.cf.arrays["item_factor"] for m in (served, fitted))
    turned = np.trace(here.T @ there) / np.linalg.norm(here) / np.linalg.norm(there)
    assert turned > 0.5  # the factors were turned back to where they were


def test_curves_are_what_the_log_says(config, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train_in(config, "--train.curves", "curves") == 0
    (folder,) = (config.parent / "curves").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    said = re.findall(r"valid AUC (\d\.\d+), UAUC", capsys.readouterr().out)
    assert [f"{e.value:.4f}" for e in events.Scalars("joint/valid auc")] == said
    losses = events.Scalars("joint/loss")
    assert [e.step for e in losses] == list(range(1, len(losses) + 1)) and len(losses) > 10


def test_a_bundle_says_what_training_cost(config):
    import json

    assert train_in(config) == 0
    (name,) = bundles(config)
    about = json.loads((config.parent / "bundles" / name / "bundle.json").read_text())
    assert 0 < about["train_seconds"] < 60
    assert about["metrics"]["trained_parameters"] > 1000


def test_max_steps_is_a_trial(config, capsys):
    assert train_in(config, "--train.max-steps", "3") == 0
    assert "joint, epoch 1" in capsys.readouterr().out


def test_help_is_quick():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "ccf_batch.train", "--help"], capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and "--date" in done.stdout and "--no-resume" in done.stdout
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert took < 3  # seconds of a processor, whatever else runs; about 1 by itself


GGUF = Path(__file__).resolve().parents[1] / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.slow
@pytest.mark.skipif(not GGUF.exists(), reason=f"needs models/{GGUF.name}: make lm-smollm2")
def test_smollm2_goes_through_both_stages_and_scores(config, capsys):
    flags = ["--model.base", str(GGUF), "--train.max-steps", "2", "--train.batch-examples", "8"]
    flags += ["--train.max-examples", "120", "--prompt.history-length", "3"]
    assert train_in(config, *flags) == 0
    out = capsys.readouterr().out
    assert "text, epoch 1" in out and "slots, epoch 1" in out
    (name,) = bundles(config)
    path = config.parent / "bundles" / name
    assert sum(p.stat().st_size for p in path.rglob("*")) < 20e6  # the base itself is not copied
    model = bundle.load(path).model
    assembly = Assembly(connect(), load_settings(config=config))
    batch = assembly.examples("valid").take(np.arange(4))
    scored = Scorer(model, assembly.catalogue()).score(batch)
    assert np.isfinite(scored.margin).all()


@pytest.mark.slow
@pytest.mark.shared
def test_on_real_data_it_does_not_fall_below_its_encoder(shared, tmp_path, monkeypatch, capsys):
    "The split of the papers, trained until its test rows begin, scored on these."
    from ccf_batch import evaluate, ingest

    monkeypatch.setattr(causal_lm, "nano", NANO.func)  # all of its recipe
    config = tmp_path / "ccf.toml"
    source = ["--source", str(shared / "ml-1m-ctr"), "--meta", str(shared / "ml-1m-meta")]
    flags = ["--config", str(config), *source]
    assert main(ingest.IngestCommand, ingest.run, "ingest", missing_ok=True, argv=flags) == 0
    on_rows = "--train.loss", "pointwise", *tiny.FEW_CANDIDATES
    assert train_in(config, "--date", "2002-09-01", *on_rows) == 0
    assert (
        main(evaluate.EvaluateCommand, evaluate.run, "evaluate", argv=["--config", str(config)])
        == 0
    )
    (file,) = (tmp_path / "evaluations").glob("*.parquet")
    import pyarrow.parquet as pq

    auc = {(r["model"], r["subset"]): r["auc"] for r in pq.read_table(file).to_pylist()}
    print(capsys.readouterr().out)
    assert auc["model", "all"] > auc["CF logit", "all"] - 0.004  # what seeds differ by
    assert auc["model", "all"] > auc["Item+UserMean", "all"] + 0.01
