"Methods and experiments: what is kept, what is computed again, what a table says; on the embedded sample."

import datetime as dt
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccf_batch import experiment
from ccf_batch.base.errors import InputError
from ccf_batch.base.settings_file import load
from ccf_batch.metrics import resample
from ccf_batch.research import methods, slices
from ccf_batch.research.plan import Plan, Source, read_plan
from ccf_batch.research.results import compare_methods
from ccf_batch.settings import SettingsError

PLAN = """
title = "Trial"
seeds = [0, 1]
against = ["ItemMean"]
[data]
source = "toy"
test_from = 2025-06-01
[settings.model]
hidden = 16
layers = 1
[settings.train]
epochs = 1
max_steps = 2
[settings.cf]
folds = 2
factors = 2
[[method]]
name = "ItemMean"
kind = "baseline"
seeds = [0]
quick = true
[[method]]
name = "MF+content"
kind = "encoder"
[[method]]
name = "Slot MLP"
kind = "mlp"
seeds = [0]
[[method]]
name = "CCF-LLM"
kind = "model"
seeds = [0]
settings.fusion.mix = "add"
"""


@pytest.fixture
def place(sample, tmp_path):
    "A folder with a plan, and a workspace where its data set is ingested already."
    shutil.copytree(sample, tmp_path / "work" / "toy")
    (tmp_path / "trial.toml").write_text(PLAN)
    return tmp_path


def command(place, *flags):
    fixed = [str(place / "trial.toml"), "--shared", str(place), "--work", str(place / "work")]
    return experiment.command([*fixed, *flags])


def test_a_plan_becomes_a_table_and_is_not_computed_twice(place, capsys, monkeypatch):
    assert command(place) == 0
    file = place / "results" / "trial.json"
    first = json.loads(file.read_text())
    seeds = [(r["method"], r["seed"]) for r in first["rows"]]
    assert seeds == [
        ("ItemMean", 0),
        *(("MF+content", s) for s in (0, 1, "mean", "average")),
        ("Slot MLP", 0),
        ("CCF-LLM", 0),
    ]
    keys = {"method", "dataset", "auc", "auc_low", "auc_high", "uauc", "uauc_low", "uauc_high"}
    for row in first["rows"]:
        assert keys <= row.keys() and row["auc_low"] < row["auc"] < row["auc_high"]
    mean = np.mean([r["auc"] for r in first["rows"][1:3]])
    assert first["rows"][3]["auc"] == pytest.approx(mean)
    assert [len(keys) for keys in first["touches"].values()] == [1, 2, 1, 1]
    gap = next(g for g in first["differences"] if g["method"] == "MF+content")
    assert gap["value"] == pytest.approx(mean - first["rows"][0]["auc"])
    assert gap["low"] < gap["value"] < gap["high"]

    def never(*_):
        raise AssertionError("computed again")

    for kind in ("_baseline", "_encoder_alone", "_probe", "_model", "encoder"):
        monkeypatch.setattr(methods.MethodRunner, kind, never)
    assert command(place) == 0
    assert json.loads(file.read_text()) == first
    (place / "trial.toml").write_text(PLAN.replace('mix = "add"', 'mix = "concat"'))
    with pytest.raises(AssertionError, match="computed again"):
        command(place)


def test_choosing_touches_no_test_rows_and_quick_is_quick(place, capsys):
    assert command(place, "--choose", "--only", "MF+content") == 0
    assert not (place / "results").exists()
    assert "validation rows" in capsys.readouterr().out
    assert command(place, "--quick", "--out", str(place / "q.json")) == 0
    assert [r["method"] for r in json.loads((place / "q.json").read_text())["rows"]] == ["ItemMean"]
    for part in (["--quick"], ["--only", "ItemMean"]):  # never replaces the whole
        assert command(place, *part) == 0
        assert "--out writes it elsewhere" in capsys.readouterr().out
        assert not (place / "results").exists()


@pytest.mark.parametrize(
    "old, new, said",
    [
        ('kind = "mlp"', 'kind = "mpl"', "mlp"),
        ('against = ["ItemMean"]', 'against = ["MeanItem"]', "MeanItem"),
        ('name = "Slot MLP"', 'name = "CCF-LLM"', "two methods are called 'CCF-LLM'"),
        ("settings.fusion.mix", "settings.fusion.mixx", "did you mean 'mix'"),
        ('source = "toy"', 'source = "toys"', "toys: no such folder"),
    ],
)
def test_mistakes_in_a_plan(place, capsys, old, new, said):
    (place / "trial.toml").write_text(PLAN.replace(old, new))
    assert command(place, "--only", "CCF-LLM") == 2
    assert said in capsys.readouterr().err


def test_the_key_of_a_method_is_all_that_it_depends_on(sample, tmp_path, monkeypatch):
    settings = load(config=sample / "ccf.toml")
    room = methods.MethodRunner(settings, tmp_path, dt.date(2025, 6, 1))
    key = room.key("model", "a", settings)
    assert key == room.key("model", "b", settings)  # a name says nothing of a model,
    assert room.key("baseline", "a", settings) != room.key("baseline", "b", settings)
    top_k = settings.model_copy(update={"top_k": 3})
    assert key == room.key("model", "a", top_k)  # nor does what comes after it
    for group, change in {"fusion": {"mix": "add"}, "train": {"seed": 1}}.items():
        part = getattr(settings, group).model_copy(update=change)
        assert key != room.key("model", "a", settings.model_copy(update={group: part}))
    assert key != methods.MethodRunner(settings, tmp_path, dt.date(2025, 6, 2)).key(
        "model", "a", settings
    )
    bases = []
    for folder, weights in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        base = tmp_path / folder / "x.gguf"
        base.parent.mkdir()
        base.write_bytes(weights)
        model = settings.model.model_copy(update={"base": str(base)})
        bases.append(room.key("model", "a", settings.model_copy(update={"model": model})))
    assert key != bases[0] == bases[1] != bases[2]  # a base is what is in its file
    monkeypatch.setattr(methods, "code_of", lambda *_: "other code")
    assert key != room.key("model", "a", settings)


def test_slices_share_out_the_rows_and_say_where_a_model_gains(place):
    (place / "trial.toml").write_text(
        PLAN.replace("against =", 'where = ["MF+content"]\nagainst =')
    )
    out = place / "slices.json"
    assert command(place, "--only", "MF+content", "ItemMean", "--out", str(out)) == 0
    found = json.loads(out.read_text())
    rows = found["rows"][0]["rows"]
    by = {s["by"] for s in found["slices"]}
    assert len(by) == 4
    for name in by:
        part = [s for s in found["slices"] if s["by"] == name]
        assert sum(s["rows"] for s in part) == rows
        assert {(s["method"], s["against"]) for s in part} == {("MF+content", "ItemMean")}
    assert sum(s["auc_low"] > 0 for s in found["slices"]) >= 3


@pytest.mark.quick
@given(st.lists(st.integers(0, 9) | st.just(None), min_size=1), st.integers(1, 6))
def test_slices_never_part_equal_values(values, parts):
    values = np.array([np.nan if v is None else v for v in values], float)
    if np.isnan(values).all():
        return
    found = slices.cut(values, parts)
    assert (np.sum([inside for _, inside in found], axis=0) == 1).all()
    for value in np.unique(values[~np.isnan(values)]):
        assert sum((inside & (values == value)).any() for _, inside in found) == 1
    assert len(found) <= parts + 1


def test_an_empty_side_of_the_cut_is_an_error(sample, tmp_path):
    settings = load(config=sample / "ccf.toml")
    with pytest.raises(InputError, match="test rows must begin"):
        methods.read_rows(settings, dt.date(2025, 7, 2))


def test_differences_are_of_means_where_there_are_several_seeds():
    rng = np.random.default_rng(0)
    user, label = np.repeat(np.arange(50), 8), rng.integers(0, 2, 400)
    one, two = (resample(user, label, rng.normal(size=400) + label, 50) for _ in range(2))
    gaps = compare_methods({("a", 0): one, ("a", "mean"): two, ("b", 0): one}, ["b"])
    assert [g["metric"] for g in gaps] == ["auc", "uauc"]
    assert gaps[0]["value"] == pytest.approx(two.quality.auc - one.quality.auc)


def test_settings_errors_name_the_plan(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text("title = 3\n")
    with pytest.raises(SettingsError, match=r"plan.toml: title"):
        read_plan(file, Plan)


def test_a_workspace_follows_the_plans_settings_file(tmp_path):
    shop = tmp_path / "data/shop"
    shop.mkdir(parents=True)
    (shop / "events.csv").write_text(
        "user_id,item_id,rating,event_ts,stars\n1,1,5,2026-01-01,2\n2,1,4,2026-01-02,5\n"
    )
    (shop / "items.csv").write_text("item_id,title\n1,Emma\n")
    mapping = tmp_path / "shop.toml"
    text = '[domain]\nliked_above = 3\n[ingest]\ninteractions = "events.csv"\nitems = "items.csv"\n[candidates]\ntext = 7\n'
    source, plan, work = (
        Source(source="shop", config="shop.toml"),
        tmp_path / "p.toml",
        tmp_path / "w",
    )

    def made():
        settings = experiment.workspace(source, plan, tmp_path / "data", work)
        (file,) = settings.lake.glob("interactions/date=2026-01-01/*.parquet")
        return (
            settings.candidates.text,
            pq.read_table(file)["rating"].to_pylist(),
            file.stat().st_mtime_ns,
        )

    mapping.write_text(text)
    first = made()
    assert first[:2] == (7, [5.0]) and made() == first
    mapping.write_text(text.replace("7", "8") + '[ingest.columns]\nrating = "stars"\n')
    assert made()[:2] == (8, [2.0])
