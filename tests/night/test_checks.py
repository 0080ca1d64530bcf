"Checks of the input and of the output: each made to fail by a world that breaks it, and shown to hold."

import datetime as dt
import glob
import json
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stand_in
from lakes import prepare

from ccf_batch import ingest, runs
from ccf_batch.base import console
from ccf_batch.base.settings_file import load
from ccf_batch.data.assemble import Assembly
from ccf_batch.data.database import connect
from ccf_batch.data.ranked import SCHEMA_VERSION, date_before, row_schema
from ccf_batch.night import input_checks, output_checks, scoring
from ccf_batch.settings import Settings

NIGHT = dt.date(2026, 7, 1)
START = dt.datetime(2026, 7, 1)
MAP = pa.map_(pa.string(), pa.list_(pa.string()))
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


def settings_of(workspace, **groups):
    s = Settings.model_validate(groups)
    s._workspace = workspace
    return s


def events(days=range(42), a_day=20):
    "So many events a day, of 30 users on 40 items; day 0 is the one before the night."
    return [
        {
            "user_id": (7 * k + 3 * day) % 30,
            "item_id": (11 * k + 3 * day) % 40,
            "event_ts": START - (day + 1) * DAY + k * HOUR,
        }
        for day in days
        for k in range(a_day)
    ]


def write(lake, rows, titles=("Film",) * 40, supplied=(), hidden=(), items=None):
    "A lake of these events; `hidden` items have left before the night, `supplied` are (user, item)."
    by_day = {}
    for row in rows:
        by_day.setdefault(row["event_ts"].date(), []).append(row)
    for day, some in by_day.items():
        folder = lake / f"interactions/date={day}"
        folder.mkdir(parents=True, exist_ok=True)
        names = dict.fromkeys(name for row in some for name in row)
        table = pa.table({name: [row.get(name) for row in some] for name in names})
        pq.write_table(table, folder / f"{len(list(folder.iterdir()))}.parquet")
    items = list(range(len(titles))) if items is None else items
    to = pa.array([START - DAY if n in hidden else None for n in items], pa.timestamp("us"))
    catalogue = {
        "item_id": items,
        "title": pa.array([titles[n] for n in items], pa.string()),
        "attributes": pa.nulls(len(items), MAP),
        "available_to": to,
    }
    (lake / "items").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(catalogue), lake / "items/0.parquet")
    if supplied:
        folder = lake / f"candidates/date={NIGHT}"
        folder.mkdir(parents=True)
        user, item = zip(*supplied, strict=True)
        table = {"user_id": user, "item_id": item, "source": ["mine"] * len(user)}
        pq.write_table(pa.table(table), folder / "0.parquet")


def assembled(settings, date=NIGHT):
    night = Assembly(connect(threads=1), settings, date)
    return night, prepare(night)


def input_of(workspace, date=NIGHT, **groups):
    "Findings by name."
    found = input_checks.check_input(*assembled(settings_of(workspace, **groups), date))
    return {f.check: f for f in found}


def failed(found):
    return {f.check for f in found.values() if not f.ok}


# The input


def old(rows, days):
    return [row for row in rows if row["event_ts"] < START - days * DAY]


def of_unknown_items(rows, share):
    n = int(len(rows) * share)
    return [row | ({"item_id": 1000} if k < n else {}) for k, row in enumerate(rows)]


def arriving(rows, late):
    "All say when they came in; this share of them two days after it happened, where that is known tonight."
    n, out = int(len(rows) * late), []
    for k, row in enumerate(rows):
        came = row["event_ts"] + (2 * DAY if k >= len(rows) - n else HOUR)
        out.append(row | {"ingested_ts": came})
    return out


WORLDS = {
    "events have stopped": ({"rows": old(events(), 8)}, {"stale_days", "activity"}),
    "few events": (
        {"rows": old(events(), 7) + events(range(7), a_day=1)},
        {"activity"},
    ),
    "items of another catalogue": (
        {"rows": of_unknown_items(events(range(35)), 0.1)},
        {"unknown_items"},
    ),
    "titles are gone": (
        {"rows": events(), "titles": [None, "  ", "", *["Film"] * 2] * 8},
        {"untitled"},
    ),
    "a file was loaded twice": ({"rows": events() + events(range(3))}, {"duplicates"}),
    "events come in late": ({"rows": arriving(events(range(35)), 0.2)}, {"late"}),
    "strangers": (
        {"rows": events(), "supplied": [(1000 + u, 1) for u in range(40)]},
        {"without_history"},
    ),
}


@pytest.mark.parametrize("world", WORLDS)
def test_each_check_of_the_input_fails_where_it_should(tmp_path, world):
    lake, broken = WORLDS[world]
    write(tmp_path / "lake", **lake)
    found = input_of(tmp_path)
    assert failed(found) == broken
    for check in broken:
        f = found[check]
        assert f"checks.{'min' if f.at_least else 'max'}_{check}" == f.setting
        assert str(f).startswith(f"{check} is ") and f.setting in str(f) and f.note in str(f)
        # as much as that, and no more, is allowed by a limit that is just there
        side = f.setting.removeprefix("checks.")
        assert failed(input_of(tmp_path, checks={side: f.value})) == broken - {check}


def test_what_is_in_order_holds_with_numbers(tmp_path):
    rows = arriving(events(), 0.05)
    write(tmp_path / "lake", rows, hidden=[3])
    found = input_of(tmp_path)
    assert not failed(found)
    values = {name: f.value for name, f in found.items()}
    assert values == {
        "stale_days": pytest.approx(5 / 24),
        "activity": 1,
        "unknown_items": 0,
        "untitled": 0,
        "duplicates": 0,
        "late": 0,  # the late ones are the oldest of 42 days, of which 35 are looked at
        "without_history": 0,
    }
    assert found["activity"].note == "140 events in the last 7 days, 560 in the 28 before"
    assert found["untitled"].note == "of 39 available items"
    assert "2026-06-30 19:00:00" in found["stale_days"].note


def test_only_what_was_known_counts(tmp_path):
    rows = arriving(events(), 0)
    write(tmp_path / "lake", rows)
    before = input_of(tmp_path)
    later = [row | {"event_ts": row["event_ts"] + 3 * DAY, "item_id": 1000} for row in rows[:20]]
    not_yet = [row | {"ingested_ts": START, "item_id": 1000} for row in rows[:20]]
    write(tmp_path / "lake", later * 3 + not_yet)
    assert input_of(tmp_path) == before
    week = NIGHT - dt.timedelta(days=7)
    assert not failed(input_of(tmp_path, week))
    assert failed(input_of(tmp_path, NIGHT + dt.timedelta(days=3))) == {
        "unknown_items",
        "duplicates",
    }


@pytest.mark.parametrize(
    "rows, unmeasured",
    [
        (events(range(3)), {"activity", "late"}),  # the lake is a few days old
        (  # nothing for seven weeks
            events(range(50, 60)),
            {"activity", "unknown_items", "duplicates", "late"},
        ),
        (arriving(events(range(10)), 0), set()),
    ],
)
def test_what_cannot_be_measured_is_no_failure(tmp_path, rows, unmeasured):
    write(tmp_path / "lake", rows)
    found = input_of(tmp_path)
    assert {f.check for f in found.values() if f.value is None} == unmeasured
    assert failed(found) <= {"stale_days"}


def test_an_event_of_long_ago_is_only_old(tmp_path):
    lake = tmp_path / "lake"
    write(lake, [], supplied=[(1, 2)])
    folder = lake / "interactions/date=0001-01-01"
    folder.mkdir(parents=True)
    made = connect().execute(
        """COPY (SELECT 1::BIGINT AS user_id, 2::BIGINT AS item_id, ts AS event_ts
        FROM (VALUES (TIMESTAMP '290300-01-01 (BC)'), (TIMESTAMP '-infinity')) AS times(ts)) TO $path""",
        {"path": str(folder / "0.parquet")},
    )
    assert made.fetchone() == (2,)
    assert input_of(tmp_path)["stale_days"].value > 1e8


def test_with_supplied_candidates_and_no_known_event(tmp_path):
    write(tmp_path / "lake", events(range(-9, -6)), supplied=[(1, 2)])
    found = input_of(tmp_path)
    assert {f.check for f in found.values() if f.value is not None} == {
        "untitled",
        "without_history",
    }
    assert failed(found) == {"without_history"}


def test_the_zone_decides_which_events_are_of_the_night(tmp_path):
    write(tmp_path / "lake", events())
    # the night begins at 12:00 UTC of the day before: events of 12:00 to 19:00 come after it
    found = input_of(tmp_path, domain={"zone": "Pacific/Auckland"})
    assert found["stale_days"].value == pytest.approx(1 / 24)


@pytest.mark.parametrize(
    "data",
    [
        "sample",
        "ml-100k",
        *(pytest.param(d, marks=pytest.mark.slow) for d in ("ml-1m-ctr", "retail-uci")),
    ],
)
def test_defaults_let_real_data_pass(sample, request, tmp_path, data):
    workspace = sample
    if data != "sample":
        shared = request.getfixturevalue("shared")
        workspace = tmp_path / "w"
        workspace.mkdir()
        source = ["--source", str(shared / data)]
        if data == "ml-1m-ctr":
            source += ["--meta", str(shared / "ml-1m-meta")]
        if data == "retail-uci":
            example = Path(__file__).parents[2] / "examples/retail-uci.toml"
            shutil.copy(example, workspace / "ccf.toml")
        argv = ["--config", str(workspace / "ccf.toml"), *source]
        done = console.main(ingest.IngestCommand, ingest.run, "ingest", missing_ok=True, argv=argv)
        assert done == 0
    night = Assembly(connect(), load(config=workspace / "ccf.toml"), None)
    found = input_checks.check_input(night, prepare(night))
    assert [str(f) for f in found if not f.ok] == []
    if data == "retail-uci":  # the shop is closed over Christmas: few events, as it should say
        night, prepared = assembled(load(config=workspace / "ccf.toml"), dt.date(2010, 12, 29))
        (few,) = (f for f in input_checks.check_input(night, prepared) if not f.ok)
        assert few.check == "activity" and few.value == pytest.approx(0.0885, abs=1e-4)


# The output


SCHEMA = row_schema(pa.int64(), pa.int64())


def write_ranked(file, rows):
    "Rows (user, item, rank, score, margin, reason), what is left out being in order, as a shard has them."
    full = [(*row, *(0.5, 0.0, "scored")[len(row) - 3 :]) for row in rows]
    user, item, rank, value, margin, reason = zip(*full, strict=True)
    n = len(rows)
    columns = [user, item, rank, value, margin, ["popular"] * n, reason, ["b1"] * n, ["r1"] * n]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays, schema=SCHEMA), file)
    return str(file)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    "User u has seen item u. Item 9 has left the catalogue before the night, item 8 since it was assembled."
    workspace = tmp_path_factory.mktemp("shop")
    rows = [{"user_id": u, "item_id": u, "event_ts": START - DAY} for u in range(3)]
    write(workspace / "lake", rows, ["Film"] * 10, hidden=[9])
    night, _ = assembled(settings_of(workspace))
    write(workspace / "lake", [], ["Film"] * 10, hidden=[9], items=[*range(8), 9])
    return night


def lists_of(shop, tmp_path, rows, counts=None, **groups):
    shop.settings = settings_of(shop.settings.workspace, **groups)
    ranked = [glob.escape(write_ranked(tmp_path / "[1].parquet", rows))]
    found = output_checks.check_lists(
        shop, ranked, {"users": 2, "pairs": 100} | (counts or {}), True
    )
    return {f.check: f for f in found}


GOOD = [(0, 3, 1), (0, 4, 2), (1, 5, 1)]


@pytest.mark.parametrize(
    "row, broken",
    [
        ([], None),
        ([(1, 3, 2, 0.0, -9.0), (1, 4, 3, 1.0, 90.0)], None),
        ([(1, 3, 2, None, None, "pinned"), (1, 4, 3, 0.2, None, "copied")], None),
        ([(1, 3, 3)], "lists_with_gaps"),
        ([(1, 3, 1)], "lists_with_gaps"),
        ([(1, 3, 0)], "lists_with_gaps"),
        ([(2, 3, 2)], "lists_with_gaps"),
        ([(2, 3, 2), (2, 4, 3)], "lists_with_gaps"),
        ([(1, 5, 2)], "lists_with_repeats"),
        ([(1, 3, 2, math.nan)], "wrong_scores"),
        ([(1, 3, 2, 1.01)], "wrong_scores"),
        ([(1, 3, 2, -0.01)], "wrong_scores"),
        ([(1, 3, 2, math.inf)], "wrong_scores"),
        ([(1, 3, 2, None)], "wrong_scores"),
        ([(1, 3, 2, 0.5, None)], "wrong_scores"),
        ([(1, 3, 2, 0.5, math.nan)], "wrong_scores"),
        ([(1, 3, 2, 0.5, -math.inf)], "wrong_scores"),
        ([(1, 3, 2, 1.01, None, "pinned")], "wrong_scores"),
        ([(1, 3, 2, None, math.nan, "pinned")], "wrong_scores"),
        ([(1, 1, 2)], "seen_items"),
        ([(1, 9, 2)], "hidden_items"),
        ([(1, 8, 2)], "hidden_items"),
        ([(1, 77, 2)], "hidden_items"),
    ],
)
def test_each_check_of_the_lists_fails_where_it_should(shop, tmp_path, row, broken):
    found = lists_of(shop, tmp_path, GOOD + row)
    assert failed(found) == ({broken} if broken else set())
    if broken:
        assert found[broken].value == 1 and found[broken].setting is None
        assert str(found[broken]).startswith(f"{broken} is 1, allowed is at most 0: of ")


def test_lists_are_no_longer_than_allowed(shop, tmp_path):
    assert failed(lists_of(shop, tmp_path, GOOD, top_k=2)) == set()
    assert failed(lists_of(shop, tmp_path, GOOD, top_k=1)) == {"lists_too_long"}


def test_what_the_settings_allow_is_only_counted(shop, tmp_path):
    rows = [(0, 0, 1), (0, 9, 2)]
    assert failed(lists_of(shop, tmp_path, rows)) == {"seen_items", "hidden_items"}
    found = lists_of(shop, tmp_path, rows, top_k=1, rules={"apply": []})
    assert not failed(found)
    counted = ("lists_too_long", "seen_items", "hidden_items")
    assert [found[name].value for name in counted] == [1, 1, 1]
    again = lists_of(shop, tmp_path, rows, candidates={"exclude_seen": "none"})
    assert failed(again) == {"hidden_items"}


def test_rejected_pairs_have_a_budget(shop, tmp_path):
    for rejected, broken in ((0, set()), (1, set()), (2, {"rejected"})):
        counts = {"removed_no_margin": rejected, "users": 3}
        found = lists_of(shop, tmp_path, GOOD, counts)
        assert failed(found) == broken and found["rejected"].value == rejected / 100
        assert found["users_without_rows"].value == 1
    counts = {"removed_no_margin": 2}
    assert not failed(lists_of(shop, tmp_path, GOOD, counts, score={"max_rejected": 0.02}))


def night_before(root, rows, date="2026-06-30", **manifest):
    write_ranked(root / f"date={date}/0.parquet", rows)
    about = {
        "schema_version": SCHEMA_VERSION,
        "date": date,
        "run_id": "0" * 16,
        "bundle": "b",
    }
    about |= {key: {} for key in ("settings", "versions", "machine")} | {"inputs": [], "shards": []}
    about |= {
        "attempts": 1,
        "rows": len(rows),
        "published_at": "2026-06-30T03:00:00+00:00",
    } | manifest
    (root / f"date={date}/_manifest.json").write_text(json.dumps(about))


def lists(scores, depth=2):
    "Lists of so many scores, of users from 0 on; user u's first item is u."
    return [
        (n // depth, n // depth + 10_000 * (n % depth), n % depth + 1, float(x))
        for n, x in enumerate(scores)
    ]


def change(tmp_path, rows, bundle="another", **limits):
    s = settings_of(tmp_path, checks=limits)
    file = write_ranked(tmp_path / "now.parquet", rows)
    found = output_checks.check_change(connect(threads=1), s, [file], NIGHT, bundle)
    return {f.check: f for f in found}


RNG = np.random.default_rng(0)


def test_the_same_distribution_has_not_shifted(tmp_path):
    night_before(tmp_path / "ranked", lists(RNG.beta(5, 2, 3000)))
    found = change(tmp_path, lists(RNG.beta(5, 2, 4000)))
    assert 0 <= found["shift"].value < 0.02 and not failed(found)
    assert found["shift"].note == "scores, as another bundle made it, against 2026-06-30"
    assert found["new_tops"].value == 0 and found["new_tops"].note.startswith("of 1,500 users")


def test_another_distribution_has(tmp_path):
    night_before(tmp_path / "ranked", lists(RNG.beta(5, 2, 3000)))
    found = change(tmp_path, lists(RNG.beta(2, 5, 3000)))
    assert failed(found) == {"shift"} and found["shift"].value > 1
    # equal scores have no tenths: one bin, in which all lie, before and now
    night_before(tmp_path / "ranked", lists([0.5] * 3000))
    assert change(tmp_path, lists([0.5] * 3000))["shift"].value == 0
    assert failed(change(tmp_path, lists([0.6] * 3000))) == {"shift"}


def test_margins_of_one_bundle_are_compared_and_scores_of_two(tmp_path):
    night_before(tmp_path / "ranked", [(*row, row[3] * 9) for row in lists(RNG.random(2000))])
    now = [(*row, row[3] * 9 + 100) for row in lists(RNG.random(2000))]
    assert not failed(change(tmp_path, now))
    found = change(tmp_path, now, bundle="b")
    assert failed(found) == {"shift"} and found["shift"].note == "margins, against 2026-06-30"


def test_a_night_without_a_calibration_has_no_scores(shop, tmp_path):
    ranked = [
        glob.escape(write_ranked(tmp_path / "0.parquet", [(*row, None, 0.5) for row in GOOD]))
    ]
    for calibrated, wrong in ((True, 3), (False, 0)):
        shop.settings = settings_of(shop.settings.workspace)
        found = output_checks.check_lists(shop, ranked, {"users": 2, "pairs": 9}, calibrated)
        assert {f.check: f.value for f in found}["wrong_scores"] == wrong


def test_the_index_is_what_its_formula_says(tmp_path):
    old, new = RNG.random(2000).astype(np.float32), (RNG.random(2000) ** 1.5).astype(np.float32)
    night_before(tmp_path / "ranked", lists(old))
    edges = np.quantile(old, np.arange(1, 10) / 10, method="inverted_cdf")
    p, q = (
        (np.bincount(np.searchsorted(edges, x, side="left"), minlength=10) + 0.5) / 2005
        for x in (new, old)
    )
    expected = float(((p - q) * np.log(p / q)).sum())
    assert change(tmp_path, lists(new))["shift"].value == pytest.approx(expected, rel=1e-6)


def test_lists_are_compared_as_far_as_both_go(tmp_path):
    scores = np.sort(RNG.random((1500, 4)))[:, ::-1]
    night_before(tmp_path / "ranked", lists(scores.ravel(), depth=4))
    found = change(tmp_path, lists(scores[:, :2].ravel(), depth=2))
    assert found["shift"].value == 0


def test_how_many_have_another_first_item(tmp_path):
    night_before(tmp_path / "ranked", lists([0.5] * 2000))
    now = [(u, i + (u < 100 and r == 1), r, x) for u, i, r, x in lists([0.5] * 2000)]
    found = change(tmp_path, now, max_new_tops=0.05)
    assert failed(found) == {"new_tops"} and found["new_tops"].value == 0.1
    assert not failed(change(tmp_path, now))  # by default no share is too much


def test_the_newest_date_before_is_the_one(tmp_path):
    root = tmp_path / "ranked"
    assert date_before(root, NIGHT) is None
    for date in ("2026-06-01", "2026-06-30", "2026-07-01", "2026-07-02", "soon"):
        (root / f"date={date}").mkdir(parents=True)
    assert date_before(root, NIGHT) == dt.date(2026, 6, 30)
    assert date_before(root, dt.date(2026, 6, 30)) == dt.date(2026, 6, 1)
    assert date_before(root, dt.date(2026, 6, 1)) is None


@pytest.mark.parametrize("why", ["none", "schema", "manifest", "broken", "empty", "few"])
def test_where_there_is_nothing_to_compare_with(tmp_path, why):
    root = tmp_path / "ranked"
    rows = lists(RNG.random(10 if why == "few" else 2000))
    if why != "none":
        night_before(root, rows, schema_version=99 if why == "schema" else SCHEMA_VERSION)
    if why == "manifest":
        (root / "date=2026-06-30/_manifest.json").write_text("{")
    if why == "broken":
        (root / "date=2026-06-30/0.parquet").write_bytes(b"PAR1 no more")
    if why == "empty":
        (root / "date=2026-06-30/0.parquet").unlink()
    found = change(tmp_path, rows, max_new_tops=0)
    assert found["shift"].value is None and not failed(found)
    said = {
        "none": "no date is published before",
        "schema": "2026-06-30 has another schema",
        "manifest": "no manifest that can be read",
        "broken": "2026-06-30 cannot be read",
        "empty": "2026-06-30 cannot be read",
        "few": "with 10 too few",
    }
    assert said[why] in found["shift"].note


def test_ids_may_have_changed_their_type(tmp_path):
    night_before(tmp_path / "ranked", lists([0.5] * 2000))
    file = tmp_path / "ranked/date=2026-06-30/0.parquet"
    table = pq.read_table(file)
    pq.write_table(table.set_column(0, "user_id", table["user_id"].cast(pa.string())), file)
    assert change(tmp_path, lists([0.5] * 2000))["new_tops"].value == 0


# The command


@pytest.fixture
def ws(tmp_path, monkeypatch):
    "A workspace in which everything is in order."
    monkeypatch.setattr(stand_in, "SLEEP_S", 0)
    write(tmp_path / "lake", events())
    (tmp_path / "ccf.toml").write_text("[score]\nshard_users = 10\nthreads = 1\n")
    return tmp_path


def command(ws, *flags):
    argv = ["--config", str(ws / "ccf.toml"), "--show-users", "0", *flags]
    return stand_in.main(argv)


def files(ws, date=NIGHT):
    return {p.name: p.read_bytes() for p in (ws / f"ranked/date={date}").glob("*")}


def manifest(ws, date=NIGHT):
    return json.loads(files(ws, date)["_manifest.json"])


def counting(monkeypatch):
    "Counts what is scored."
    real, calls = scoring.score_shard, []

    def shard(night, run, number, columns, bar):
        calls.append(number)
        real(night, run, number, columns, bar)

    monkeypatch.setattr(scoring, "score_shard", shard)
    return calls


def test_findings_are_said_and_kept(ws, capsys):
    assert command(ws) == 0
    out = capsys.readouterr().out
    assert "13 held; could not be measured: late, lift, shift, new_tops" in out
    about = manifest(ws)
    assert about["seconds"]["checks"] > 0
    found = {c["check"]: c for c in about["checks"]}
    assert found.keys() == {
        "bundle_age", "stale_days", "activity", "unknown_items", "untitled", "duplicates", "late",
        "without_history", "lift", "lists_too_long", "lists_with_gaps", "lists_with_repeats", "wrong_scores",
        "seen_items", "hidden_items", "users_without_rows", "rejected", "shift", "new_tops",
    }  # fmt: skip
    assert all(c["ok"] for c in found.values())
    assert found["lists_with_gaps"]["note"].startswith("of 30 users")
    argv = ["--config", str(ws / "ccf.toml"), "show", str(NIGHT)]
    assert console.main(runs.RunsCommand, runs.run, "runs", argv=argv) == 0
    shown = capsys.readouterr().out
    for line in (r"activity", "≥ 0.1", "≤ 0.05", "not measured", "of 30 users; ranks count from 1"):
        assert line in shown, line
    assert "FAILED" not in shown


def test_an_input_that_fails_is_not_scored(ws, capsys, monkeypatch):
    date = str(NIGHT + dt.timedelta(days=9))
    load = stand_in.bundle.load_model
    monkeypatch.setattr(stand_in.bundle, "load_model", lambda *where: 1 / 0)  # no model is loaded
    for flags in ([], ["--dry-run"], ["--limit-users", "5"]):
        assert command(ws, "--date", date, *flags) == 4
        err = capsys.readouterr().err
        assert "nothing was scored, 2 of 8 checks failed" in err
        assert "stale_days is 9.208, allowed is at most 7 (checks.max_stale_days)" in err
        assert "activity is 0, allowed is at least 0.1 (checks.min_activity)" in err
        assert "move the limit where it is wrong, or go on all the same, once: --checks.on" in err
    assert not list(ws.glob("ranked/date=*"))
    monkeypatch.setattr(stand_in.bundle, "load_model", load)
    assert command(ws, "--date", date, "--checks.on-failure", "warn") == 0
    out = capsys.readouterr().out
    assert out.count("warning: ") == 2 and "2 warned: stale_days" in out
    found = {c["check"]: c["ok"] for c in manifest(ws, date)["checks"]}
    assert not found["stale_days"] and not found["activity"] and found["late"]
    assert command(ws, "--date", date) == 0  # it is published: there is nothing left to check


def test_a_run_stopped_by_its_output_is_published_from_its_shards(ws, capsys, monkeypatch):
    yesterday = NIGHT - dt.timedelta(days=1)
    assert command(ws, "--date", str(yesterday)) == 0
    before = files(ws, yesterday)
    real = stand_in.Scorer.score

    def rejecting(self, batch):
        scored = real(self, batch)
        scored.margin[::20] = np.nan
        return scored

    monkeypatch.setattr(stand_in.Scorer, "score", rejecting)
    calls = counting(monkeypatch)
    capsys.readouterr()
    assert command(ws) == 4
    err = capsys.readouterr().err
    shards = len(calls)
    assert f"{NIGHT} is not published (its {shards} finished shards are kept), 1 of" in err
    assert "(score.max_rejected)" in err and "pairs have no margin" in err
    assert "the same command with --checks.on-failure warn" in err
    assert files(ws) == {} and files(ws, yesterday) == before and shards >= 3
    kept = {p.name: p.read_bytes() for p in ws.glob("ranked/_staging/*/*/output/*.parquet")}
    assert len(kept) == shards

    saved = shutil.copytree(ws, ws.parent / "saved")
    assert command(ws, "--checks.on-failure", "warn") == 0
    assert "1 warned: rejected" in capsys.readouterr().out
    assert command(saved, "--score.max-rejected", "0.2") == 0
    assert len(calls) == shards  # nothing was scored again
    for place in (ws, saved):
        rows = {name: data for name, data in files(place).items() if name.endswith(".parquet")}
        assert rows == kept and files(place, yesterday) == before
    assert manifest(ws)["run_id"] == manifest(saved)["run_id"]
    assert not any(c["ok"] for c in manifest(ws)["checks"] if c["check"] == "rejected")
    argv = ["--config", str(ws / "ccf.toml"), "show", str(NIGHT)]
    assert console.main(runs.RunsCommand, runs.run, "runs", argv=argv) == 0
    assert "FAILED" in capsys.readouterr().out


def test_what_nobody_may_move_can_still_be_published(ws, capsys, monkeypatch):
    real = scoring.Night.rank_batch

    def backwards(self, *args):
        rows = real(self, *args)
        place = rows.schema.get_field_index("rank")
        return rows.set_column(place, "rank", pa.array(rows["rank"].to_numpy() + 1, pa.int32()))

    monkeypatch.setattr(scoring.Night, "rank_batch", backwards)
    calls = counting(monkeypatch)
    assert command(ws) == 4
    err = capsys.readouterr().err
    assert "lists_with_gaps is 30, allowed is at most 0: of 30 users" in err
    assert "move the limit" not in err and "--checks.on-failure warn" in err
    n = len(calls)
    assert command(ws, "--checks.on-failure", "warn") == 0
    assert len(calls) == n and len(files(ws)) == n + 1


def test_a_shift_stops_one_date_and_leaves_the_others(ws, capsys, monkeypatch):
    monkeypatch.setattr(output_checks, "MIN_SCORES", 100)
    first, last = NIGHT - dt.timedelta(days=2), NIGHT
    real = scoring.score_shards

    def night(n, run, bar):
        if n.assembly.date == NIGHT - dt.timedelta(days=1):
            n.scorer.score = lambda batch, score=n.scorer.score: half(score(batch))
        real(n, run, bar)

    def half(scored):
        scored.margin /= 10
        return scored

    monkeypatch.setattr(scoring, "score_shards", night)
    assert command(ws, "--dates", f"{first}..{last}") == 4
    out, err = capsys.readouterr()
    assert "(checks.max_shift): margins, against 2026-06-29" in out + err
    assert sorted(p.name for p in ws.glob("ranked/date=*")) == [f"date={first}", f"date={last}"]
    shift = {c["check"]: c for c in manifest(ws)["checks"]}["shift"]
    assert shift["value"] < 0.25 and shift["note"] == f"margins, against {first}"


def test_a_trial_is_held_against_no_other_date(ws, monkeypatch):
    monkeypatch.setattr(output_checks, "MIN_SCORES", 1)
    assert command(ws, "--date", str(NIGHT - dt.timedelta(days=1))) == 0
    assert command(ws, "--limit-users", "5") == 0
    about = json.loads((ws / f"trials/date={NIGHT}/_manifest.json").read_bytes())
    names = Counter(c["check"] for c in about["checks"])
    assert names["shift"] == 0 and names["wrong_scores"] == 1
