"Replay and back-test: a night never sees what comes after it, and what a schedule costs and keeps."

import dataclasses
import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples
from tiny import CONFIG, write_workspace
from worlds import make_catalogue, make_settings

from ccf_batch import backtest, experiment
from ccf_batch.base.settings_file import load, load_file
from ccf_batch.data.batch import Batch
from ccf_batch.data.ragged import offsets_of
from ccf_batch.evaluation.baselines import BiasContent
from ccf_batch.research import refits
from ccf_batch.research.methods import read_rows
from ccf_batch.research.plan import Plan, read_plan
from ccf_batch.research.refit_schedule import Schedule, due_refits, nights
from ccf_batch.settings import Settings

DAY = np.timedelta64(1, "D")
BEGIN = np.datetime64("2026-01-01", "us")
SMALL = make_settings(factors=2)
CATALOGUE = make_catalogue([{"genres": [g], "year": [str(1990 + k)]} for k, g in enumerate("ABAB")])


def batch_of(seed, rows, begin, days, users=6):
    "Labelled rows of some days, in groups by user and history as examples come."
    rng = np.random.default_rng(seed)
    user = np.sort(rng.integers(0, users, rows))
    item, label = rng.integers(0, 4, rows), rng.integers(0, 2, rows).astype(np.int8)
    label[:2] = 0, 1
    seconds = rng.integers(0, days * 86400, rows)
    seconds = np.concatenate([np.sort(seconds[user == u]) for u in range(users)])
    history = [item[:k][(user[:k] == user[k]) & (label[:k] == 1)] for k in range(rows)]
    return Batch(
        user_id=pa.array(user),
        history=np.concatenate(history).astype(np.int32),
        history_offsets=offsets_of([len(h) for h in history]),
        candidate=item.astype(np.int32),
        candidate_offsets=np.arange(rows + 1),
        label=label,
        event_ts=begin + seconds * np.timedelta64(1, "s"),
    )


def methods():
    yield refits.RefittedBaseline(BiasContent, CATALOGUE, SMALL)
    yield refits.RefittedEncoder(CATALOGUE, SMALL)


@examples(10)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from(["month", "week", "night"]))
def test_a_night_knows_nothing_of_what_comes_after_it(seed, night, every):
    before = batch_of(seed, 40, BEGIN, 29)
    asked = batch_of(seed + 1, 30, BEGIN + 29 * DAY, 5, users=8)
    ends = BEGIN + (29 + np.arange(6)) * DAY
    again = due_refits([(d.astype("datetime64[D]")).item() for d in ends[:-1]], every)
    later = asked.event_ts >= ends[night + 1]
    unknown = asked.event_ts >= ends[night]  # a night's own labels among them
    turned = np.where(unknown, 1 - asked.label, asked.label).astype(np.int8)
    others = np.where(later, 3 - asked.candidate, asked.candidate).astype(np.int32)
    changed = dataclasses.replace(asked, label=turned, candidate=others)
    gone, _ = asked.keep(~later)
    for one, two, three in zip(methods(), methods(), methods(), strict=True):
        margin, log = refits.score_nights(one, before, asked, ends, again)
        assert len(log) == 1 + again.sum() and not np.isnan(margin).any()
        with_changed, _ = refits.score_nights(two, before, changed, ends, again)
        without, _ = refits.score_nights(three, before, gone, ends, again)
        assert np.array_equal(margin[~later], with_changed[~later])
        assert np.array_equal(margin[~later], without)


def test_earlier_nights_do_count():
    before, asked = batch_of(0, 40, BEGIN, 29), batch_of(1, 30, BEGIN + 29 * DAY, 5)
    ends = BEGIN + (29 + np.arange(6)) * DAY
    first = asked.event_ts < ends[1]
    turned = dataclasses.replace(
        asked, label=np.where(first, 1 - asked.label, asked.label).astype(np.int8)
    )
    for one, two in zip(methods(), methods(), strict=True):
        nightly = np.array([False, True, True, True, True])
        a, _ = refits.score_nights(one, before, asked, ends, nightly)
        b, _ = refits.score_nights(two, before, turned, ends, nightly)
        assert np.array_equal(a[first], b[first]) and (a[~first] != b[~first]).all()
    with pytest.raises(ValueError, match="are not before"):
        refits.score_nights(one, before, asked, ends - DAY, nightly)


@pytest.mark.parametrize("history", ["row", "night"])
def test_not_even_histories_know_more(tmp_path, history):
    config = write_workspace(tmp_path)
    settings = load(config=config)
    cut = np.datetime64("2026-02-13", "us")  # labels from here on are turned round
    margins = []
    for turn in (False, True):
        if turn:
            for file in (tmp_path / "lake/interactions").rglob("*.parquet"):
                t = pq.read_table(file)
                late = t["event_ts"].to_numpy() >= cut
                rating = np.where(late, 7.0 - t["rating"].to_numpy(), t["rating"].to_numpy())
                place = t.schema.get_field_index("rating")
                pq.write_table(t.set_column(place, "rating", pa.array(rating)), file)
        rows = read_rows(settings, dt.date(2026, 2, 10))
        dates, ends = nights(settings, rows.cutoff, rows.test.event_ts.max().item())
        before = rows.train + rows.valid
        method = refits.RefittedEncoder(rows.catalogue, settings)
        parts = before, rows.test, ends, due_refits(dates, "night"), history
        margins.append(refits.score_nights(method, *parts)[0])
        keys = np.lexsort((rows.test.candidate, rows.test.event_ts))
        margins[-1], at = margins[-1][keys], rows.test.event_ts[keys]
    # a night's own labels are in the histories of the papers' protocol, and in no others
    known = at < cut if history == "row" else at < cut + DAY
    assert np.array_equal(margins[0][known], margins[1][known])
    assert not np.array_equal(margins[0][~known], margins[1][~known])


def test_a_warm_start_ends_where_a_fit_from_scratch_does_and_sooner(sample):
    settings = load(config=sample / "ccf.toml", flags=["--cf.factors=4"])
    rows = read_rows(settings, dt.date(2025, 6, 20))
    asked, _ = rows.test.keep(rows.test.event_ts < np.datetime64("2025-06-23"))
    dates, ends = nights(settings, rows.cutoff, asked.event_ts.max().item())
    found, iterations = [], []
    for warm in (True, False):
        method = refits.RefittedEncoder(rows.catalogue, settings, warm)
        parts = (rows.train + rows.valid), asked, ends, due_refits(dates, "night")
        found.append(refits.score_nights(method, *parts)[0])
        iterations.append(int(method.last[0].arrays["iterations"][0]))
    assert len(dates) == 3 and iterations[0] < iterations[1] / 2
    assert np.corrcoef(*found)[0, 1] > 0.999 and np.abs(found[0] - found[1]).max() < 0.1


@pytest.mark.quick
@examples(50)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.floats(0.1, 10))
def test_a_running_offset_is_one_newton_step_on_what_came_before(seed, rows, penalty):
    rng = np.random.default_rng(seed)
    user, minute = rng.integers(0, 3, rows), rng.integers(0, 12, rows)
    label, margin = rng.integers(0, 2, rows), rng.normal(size=rows)
    found = refits.running_offset(user, BEGIN + minute * DAY, label, margin, penalty)
    p = 1 / (1 + np.exp(-margin))
    for k in range(rows):
        past = (user == user[k]) & (minute < minute[k])
        step = (label - p)[past].sum() / (penalty + (p * (1 - p))[past].sum())
        assert found[k] == pytest.approx(step, abs=1e-9)


def test_nights_follow_the_clock_of_their_zone():
    paris = Settings(domain={"zone": "Europe/Paris"})
    first = paris.cutoff(dt.date(2026, 3, 28))
    dates, ends = nights(paris, first, dt.datetime(2026, 3, 30, 21, 59))
    assert [d.day for d in dates] == [28, 29, 30]
    hours = np.diff(ends) / np.timedelta64(1, "h")
    assert hours.tolist() == [24, 23, 24]  # the clocks go forward on the 29th
    assert nights(paris, first, dt.datetime(2026, 3, 30, 22))[0][-1] == dt.date(2026, 3, 31)
    dates = [dt.date(2026, 1, 30) + dt.timedelta(days=n) for n in range(31)]
    due = {every: np.flatnonzero(due_refits(dates, every)).tolist() for every in ("month", "week")}
    assert due == {"month": [2, 30], "week": [7, 14, 21, 28]}


PLAN = """
title = "Trial"
against = ["BiasContent, weekly"]
[data]
source = "toy"
test_from = 2026-02-10
[[method]]
name = "BiasContent, weekly"
kind = "baseline"
schedule.every = "week"
quick = true
[[method]]
name = "CCF-LLM, weekly"
kind = "model"
schedule.every = "week"
[[method]]
name = "CCF-LLM, once, all trained"
kind = "model"
schedule = { every = "once", retrain = true, history = "night" }
[[method]]
name = "MF, once, running offset"
kind = "encoder"
schedule = { every = "once", offset_penalty = 2.0 }
"""


@pytest.fixture
def place(tmp_path):
    "A folder with a plan, and a workspace where its data set is ingested already."
    (tmp_path / "work" / "toy").mkdir(parents=True)
    write_workspace(tmp_path / "work" / "toy", CONFIG.replace("epochs = 2", "max_steps = 2"))
    (tmp_path / "trial.toml").write_text(PLAN)
    return tmp_path


def command(place, *flags):
    fixed = [str(place / "trial.toml"), "--shared", str(place), "--work", str(place / "work")]
    return backtest.command([*fixed, *flags])


def test_a_plan_becomes_a_table_and_is_not_computed_twice(place, capsys, monkeypatch):
    assert command(place) == 0
    file = place / "results" / "trial.json"
    first = json.loads(file.read_text())
    rows = {r["method"]: r for r in first["rows"]}
    assert list(rows) == [m["name"] for m in load_file(place / "trial.toml")["method"]]
    for row in rows.values():
        assert row["auc_low"] < row["auc"] < row["auc_high"] and row["uauc_low"] < row["uauc_high"]
        assert row["seconds"] >= row["fit_seconds"] > 0 and row["parameters"] > 0
    assert [rows[m]["fits"] for m in rows] == [3, 3, 1, 1]
    assert rows["CCF-LLM, weekly"]["schedule"] == {"every": "week"}
    assert {m["month"] for m in first["months"]} == {"2026-02", "2026-03"}
    assert len(first["differences"]) == 2 * 3

    def never(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(refits, "score_nights", never)
    assert command(place) == 0
    assert json.loads(file.read_text()) == first
    (place / "trial.toml").write_text(PLAN.replace("offset_penalty = 2.0", "offset_penalty = 3.0"))
    with pytest.raises(AssertionError, match="computed again"):
        command(place)


def test_choosing_goes_through_the_nights_of_the_validation_rows(place, capsys, monkeypatch):
    seen = []

    def watched(method, before, asked, *rest):
        seen.append(max(before.event_ts.max(), asked.event_ts.max()))
        return whole(method, before, asked, *rest)

    whole = refits.score_nights
    monkeypatch.setattr(refits, "score_nights", watched)
    assert command(place, "--choose", "--quick") == 0
    assert not (place / "results").exists() and "valid rows" in capsys.readouterr().out
    assert seen and max(seen) < np.datetime64("2026-02-10")


def test_a_model_keeps_what_it_learned_while_its_encoder_is_refitted(place):
    settings = load(config=place / "work/toy/ccf.toml")
    runner = refits.RefitRunner(settings, place / "kept", dt.date(2026, 2, 10))
    runner.schedule = Schedule(every="week")
    said = runner.get_result("model", "CCF-LLM", settings)
    states = list((place / "kept").glob("*.state"))
    assert len(states) == 1  # of the training at the cut: other schedules begin with it
    before = states[0].stat().st_mtime_ns
    runner.schedule = Schedule(every="never")
    frozen = runner.get_result("model", "CCF-LLM", settings)
    assert states[0].stat().st_mtime_ns == before
    assert not np.array_equal(said.test, frozen.test)
    label = runner.rows(settings).test.label
    assert len(said.test) == len(frozen.test) == len(label)


@pytest.mark.shared
def test_histories_as_of_the_night_hold_only_what_was_liked_before_it(shared, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'title = "t"\n[data]\nsource = "ml-1m-ctr"\nmeta = "ml-1m-meta"\ntest_from = 2002-09-01\n'
        '[[method]]\nname = "ItemMean"\nkind = "baseline"\n'
    )
    settings = experiment.workspace(read_plan(plan, Plan).data, plan, shared, tmp_path / "work")
    rows = read_rows(settings, dt.date(2002, 9, 1))
    every = (rows.train + rows.valid) + rows.test
    user = every.user_id.to_numpy()[every.group_of]
    liked = every.label == 1
    when = {}
    for u, i, t in zip(user[liked], every.candidate[liked], every.event_ts[liked], strict=True):
        when[u, i] = min(t, when.get((u, i), t))
    dates, ends = nights(settings, rows.cutoff, rows.test.event_ts.max().item())
    assert len(dates) == 153 and len(rows.test.candidate) == 7331
    longer = 0
    for n in range(len(dates)):
        of_night, _ = rows.test.keep(
            (rows.test.event_ts >= ends[n]) & (rows.test.event_ts < ends[n + 1])
        )
        batch = refits.as_of_night(of_night)
        assert np.array_equal(batch.candidate, of_night.candidate)
        group = np.repeat(np.arange(len(batch)), np.diff(batch.history_offsets))
        for u, i in zip(batch.user_id.to_numpy()[group], batch.history, strict=True):
            assert when[u, i] < ends[n]
        longer += len(of_night.history) - len(batch.history)
    assert longer > 0
