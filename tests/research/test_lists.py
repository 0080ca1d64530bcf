"Tables of lists: who is measured, how dates are pooled, what is kept, and what the ledger counts."

import datetime as dt
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import CONFIG, write_workspace

from ccf_batch import backtest
from ccf_batch.candidates.generators import past_of
from ccf_batch.candidates.replay import positives_of, replay_night
from ccf_batch.data.assemble import Assembly
from ccf_batch.data.database import connect
from ccf_batch.metrics import RESAMPLES, mean_draws
from ccf_batch.research import kept_cuts, pooled
from ccf_batch.research.cuts import (
    ALL_KNOWN,
    DEPTHS,
    CutResult,
    ListFacts,
    naive_offers,
    rows_of_offers,
)
from ccf_batch.research.kept_cuts import Cut, KeptCut
from ccf_batch.research.plan import read_list_plan
from ccf_batch.settings import Settings, SettingsError

PLAN = """
title = "Trial"
script = "script.parquet"
script_rankers = ["RANKER"]
[[set]]
name = "again"
source = "toy"
days = 7
choosing = [2026-02-01]
test = [2026-02-12, 2026-02-20]
quick = true
settings.candidates = { exclude_seen = "none", linear = 0, text = 0 }
settings.model = { hidden = 16, layers = 1 }
settings.train = { epochs = 1 }
[[set]]
name = "fresh"
source = "toy"
days = 7
choosing = [2026-02-01]
test = [2026-02-12]
settings.candidates = { exclude_seen = "all", factors = 0, linear = 0, text = 0 }
settings.model.keep = "never"
"""
TEST = [("again", "2026-02-12"), ("again", "2026-02-20"), ("fresh", "2026-02-12")]


# --- pooling -----------------------------------------------------------------------------------------


def cut_of(users, **ndcg):
    values = np.repeat(np.array(list(ndcg.values()), float)[:, None], len(DEPTHS), axis=1)
    facts = {name: ListFacts([0.1] * len(DEPTHS), 0.5) for name in ndcg}
    return CutResult(users, facts, values, values, {})


def kept_of(date, *args, **ndcg):
    cut = Cut("shop", Settings(), dt.date.fromisoformat(date), 7, True)
    return KeptCut(cut, "key", cut_of(*args, **ndcg))


def write_script(file, rows):
    names = ("data", "cut", "user_id", "list", "ndcg10")
    pq.write_table(pa.Table.from_pylist([dict(zip(names, r, strict=True)) for r in rows]), file)


def script_of(tmp_path, rows):
    write_script(tmp_path / "s.parquet", rows)
    return pooled.read_script(tmp_path / "s.parquet")


def test_differences_resample_people_with_all_their_dates(tmp_path):
    # by hand: of four user-cuts ours has .7, 1, .3, .6, the best single list .5, .2, .5, .4
    first = kept_of("2026-05-01", ["1", "2"], ranker=[0.7, 1.0])
    second = kept_of("2026-06-01", ["1", "3"], ranker=[0.3, 0.6])
    theirs = [("2026-05-01", "1", 0.5), ("2026-05-01", "2", 0.2)]
    theirs += [("2026-06-01", "1", 0.5), ("2026-06-01", "3", 0.4)]
    rows = [("shop", *row[:2], "pop", row[2]) for row in theirs]
    rows += [("shop", *row[:2], "worse", 0.1) for row in theirs]
    rows += [("shop", *row[:2], "RANKER", 0.65) for row in theirs]
    paired = pooled.pair_users([first, second], script_of(tmp_path, rows))
    single, script = pooled.differences_to(paired, ["RANKER"], {"data": "shop"})
    assert (single["against_list"], script["against_list"]) == ("pop", "RANKER")
    assert (single["users"], single["people"]) == (4, 3)
    assert single["value"] == pytest.approx((0.2 + 0.8 - 0.2 + 0.2) / 4)
    assert single["ratio"] == pytest.approx(2.6 / 1.6)
    assert script["value"] == pytest.approx(0) and script["low"] < 0 < script["high"]
    gains = {0: [0.2, -0.2], 1: [0.8], 2: [0.2]}  # of people: user 1 has two dates
    rng, means = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        drawn = [x for person in rng.integers(0, 3, 3) for x in gains[person]]
        means.append(np.mean(drawn))
    assert (single["low"], single["high"]) == pytest.approx(
        tuple(np.quantile(means, [0.025, 0.975]))
    )


def test_a_list_that_a_date_lacks_gives_its_users_nothing():
    with_it, without = cut_of(["a", "b"], new=[1, 1], ranker=[1, 0]), cut_of(["c"], ranker=[1])
    rows = {r["list"]: r for r in pooled.list_rows([without, with_it], {}) if r["k"] == 10}
    assert rows["new"]["ndcg"] == pytest.approx(2 / 3) and rows["new"]["users"] == 3
    assert rows["new"]["coverage"] == pytest.approx(0.05)
    assert rows["ranker"]["ndcg"] == pytest.approx(2 / 3)


def test_users_of_one_side_are_named_and_not_compared(tmp_path):
    kept = kept_of("2026-05-01", ["1", "2"], ranker=[1.0, 0.5])
    rows = [("shop", "2026-05-01", u, name, 0.5) for u in ("2", "9") for name in ("pop", "RANKER")]
    script = script_of(tmp_path, rows)
    assert pooled.differing_users(kept, script) == {"only_ours": ["1"], "only_script": ["9"]}
    assert pooled.pair_users([kept], script).person.tolist() == ["2"]
    other_date = kept_of("2026-06-01", ["1"], ranker=[1.0])
    assert pooled.differing_users(other_date, script) == {}
    assert not len(pooled.pair_users([other_date], script).person)


# --- a plan, from a lake to its table ------------------------------------------------------------------


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    write_workspace(folder, CONFIG, users=60, n=3000)
    return folder


def likes_of(lake):
    rows = [pq.read_table(f).to_pylist() for f in sorted(lake.rglob("interactions/**/*.parquet"))]
    return [
        (r["user_id"], r["item_id"], r["event_ts"], r["rating"] > 3) for part in rows for r in part
    ]


def users_of(events, date, days, repeats):
    "As the script has them: a like before the date, and one after it, of what may be offered."
    start = dt.datetime.fromisoformat(date)
    before = {u for u, _, t, liked in events if liked and t < start}
    taken = {(u, i) for u, i, t, _ in events if t < start}
    after = (e for e in events if e[3] and start <= e[2] < start + dt.timedelta(days=days))
    return {u for u, i, *_ in after if u in before and (repeats or (u, i) not in taken)}


@pytest.fixture(scope="module")
def place(lake, tmp_path_factory):
    "A folder with a plan, the script's numbers, and a workspace where the data set is ingested already."
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(lake, folder / "work" / "toy")
    events, rows = likes_of(lake), []
    for data, date in [*TEST, ("again", "2026-02-01"), ("fresh", "2026-02-01")]:
        for user in sorted(users_of(events, date, 7, data == "again")):
            rows += [(data, date, str(user), name, 0.25) for name in ("pop", "RANKER")]
    write_script(folder / "script.parquet", rows)
    (folder / "trial.toml").write_text(PLAN)
    return folder


def command(place, *flags):
    fixed = [str(place / "trial.toml"), "--shared", str(place), "--work", str(place / "work")]
    return backtest.command([*fixed, *flags])


@pytest.fixture(scope="module")
def table(place):
    assert command(place) == 0
    return json.loads((place / "results" / "trial.json").read_text())


def test_our_users_are_the_script_s(table, place):
    events = likes_of(place)
    assert [(c["data"], c["date"]) for c in table["cuts"]] == TEST
    for cut in table["cuts"]:
        expected = users_of(events, cut["date"], 7, cut["data"] == "again")
        assert cut["users"] == len(expected) > 10
        assert cut["only_ours"] == cut["only_script"] == []
    for d in table["differences"]:
        users = [c["users"] for c in table["cuts"] if c["data"] == d["data"]]
        assert d["users"] == sum(users)
        assert d["against"] == "ranker" or d["against_ndcg"] == pytest.approx(0.25)


def test_a_table_has_a_row_for_each_list_depth_and_date(table):
    lists = {(r["data"], r["list"]) for r in table["rows"]}
    both = {
        "popular_30_days",
        "random",
        "covisited",
        "popular",
        "ranker: fusion",
        "ranker: trees",
        "ranker",
    }
    assert {("again", name) for name in (*both, "repeat", "factors")} <= lists
    assert {("fresh", name) for name in both} <= lists and ("fresh", "repeat") not in lists
    keys = "data mode date list k users ndcg ndcg_low ndcg_high recall coverage first_places_of_ten"
    for row in table["rows"]:
        assert set(keys.split()) <= row.keys()
        assert 0 <= row["ndcg_low"] <= row["ndcg"] <= row["ndcg_high"] <= 1
        assert 0 < row["coverage"] <= 1 and row["mode"] == {"again": "repeats"}.get(
            row["data"], "new"
        )
    dates = [
        r["date"]
        for r in table["rows"]
        if (r["data"], r["list"], r["k"]) == ("again", "ranker", 20)
    ]
    assert dates == ["all", "2026-02-12", "2026-02-20"]
    for cut in table["cuts"]:
        assert 0 < cut["rerank_recall"] <= cut["candidate_recall"] <= 1
        best = [r for r in table["rows"] if (r["data"], r["date"]) == (cut["data"], cut["date"])]
        value = {r["list"]: r["ndcg"] for r in best if r["k"] == 10}
        assert value["ranker"] == value[f"ranker: {cut['ranker']}"]


def test_what_is_kept_is_not_computed_again_and_the_ledger_counts_what_is(
    table, place, monkeypatch
):
    file = place / "results" / "trial.json"
    assert [(line["data"], line["date"]) for line in table["ledger"]] == TEST
    assert all(line["key"] and line["run"] for line in table["ledger"])

    def never(*_):
        raise AssertionError("computed again")

    with monkeypatch.context() as patched:
        patched.setattr(kept_cuts, "measure_cut", never)
        assert command(place) == 0
    assert json.loads(file.read_text()) == table
    (gone,) = (place / "work/toy/lists").glob("again-2026-02-20-*.safetensors")
    gone.unlink()
    assert command(place) == 0
    again = json.loads(file.read_text())
    assert again["rows"] == table["rows"]  # the same numbers,
    assert len(again["ledger"]) == 4  # and one look more
    (place / "work/toy/lists/ledger.jsonl").unlink()
    assert command(place) == 0
    assert json.loads(file.read_text())["ledger"] == again["ledger"]  # the file forgets none


def test_a_part_is_named_and_never_replaces_the_whole(table, place, capsys):
    before, out = (place / "results" / "trial.json").read_text(), place / "part.json"
    for flags, expected in {
        ("--only", "again/2026-02-20"): {("again", "2026-02-20")},
        ("--only", "fresh"): {("fresh", "2026-02-12")},
        ("--quick",): {("again", "2026-02-12"), ("again", "2026-02-20")},
    }.items():
        assert command(place, *flags, "--out", str(out)) == 0
        cuts = json.loads(out.read_text())["cuts"]
        assert {(c["data"], c["date"]) for c in cuts} == expected
        assert (
            command(place, *flags) == 0 and "--out writes it elsewhere" in capsys.readouterr().out
        )
    assert (place / "results" / "trial.json").read_text() == before
    assert command(place, "--only", "agian") == 2
    assert "agian: " in capsys.readouterr().err


def test_choosing_leaves_test_dates_and_the_ledger_alone(table, place, capsys):
    ledger = place / "work/toy/lists/ledger.jsonl"
    lines, out = ledger.read_text() if ledger.exists() else "", place / "chosen.json"
    assert command(place, "--choose", "--only", "fresh", "--out", str(out)) == 0
    found = json.loads(out.read_text())
    assert {r["date"] for r in found["rows"]} == {"all", "2026-02-01"} and len(found["rows"])
    assert lines == (ledger.read_text() if ledger.exists() else "")
    assert "choosing dates" in capsys.readouterr().out


# --- lists that know next to nothing -------------------------------------------------------------------


@pytest.mark.parametrize("exclude", ["all", "none"])
def test_popular_counts_thirty_days_and_chance_keeps_the_rules(lake, exclude):
    settings = Settings(domain={"liked_above": 3})
    settings._workspace = lake
    date = dt.date(2026, 2, 12)
    start, end = dt.datetime(2026, 2, 12), dt.datetime(2026, 2, 19)
    assembly = Assembly(connect(), settings, date)
    past = past_of(assembly)
    positives = positives_of(assembly, ALL_KNOWN, 7, exclude)
    offers = naive_offers(assembly, past, 20, exclude)
    night = replay_night(settings, date, ALL_KNOWN, 7, {"popular": 5}, exclude, users=None)
    users = night.users
    lists = rows_of_offers(offers, night, positives, 20)
    ids, items = past.matrices.user_id.to_pylist(), past.catalogue.item_id.to_pylist()
    events = likes_of(lake)
    taken = {(u, i) for u, i, t, _ in events if t < start}
    counts = dict.fromkeys(items, 0)
    for _, i, t, liked in events:
        counts[i] += liked and start - dt.timedelta(days=30) <= t < start
    for name, rows in lists.items():
        assert (np.bincount(rows.owner, minlength=len(users)) > 0).all()
        for owner in range(len(users)):
            mine = rows.owner == owner
            shown = [items[k] for k in rows.item[mine]]
            assert rows.rank[mine].tolist() == list(range(1, len(shown) + 1))
            assert len(set(shown)) == len(shown) <= 20
            user = ids[users[owner]]
            free = [i for i in items if exclude == "none" or (user, i) not in taken]
            assert set(shown) <= set(free)
            later = {i for u, i, t, liked in events if u == user and liked and start <= t < end}
            seen = set() if exclude == "none" else {i for u, i in taken if u == user}
            assert rows.hit[mine].tolist() == [i in later - seen for i in shown]
            if name == "popular_30_days":
                best = sorted((i for i in free if counts[i]), key=lambda i: (-counts[i], i))
                assert shown == best[:20]
    drawn = lists["random"]
    assert len({tuple(drawn.item[drawn.owner == k]) for k in range(len(users))}) == len(users)
    assert np.array_equal(drawn.item, rows_of_offers(offers, night, positives, 20)["random"].item)


# --- plans -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("choosing = [2026-02-01]", "choosing = [2026-02-08]", "again: the 7 days from the choosing"),
        ('name = "fresh"', 'name = "again"', "two sets are called 'again'"),
        ("days = 7", "days = 0", "days"),
        ("test = [2026-02-12]", "test = []", "test"),
        ('script_rankers = ["RANKER"]', "script_rankers = []", "script_rankers"),
    ],
)  # fmt: skip
def test_mistakes_in_a_plan_of_lists(tmp_path, old, new, said):
    (tmp_path / "p.toml").write_text(PLAN.replace(old, new))
    with pytest.raises(SettingsError, match=r"p\.toml: ") as error:
        read_list_plan(tmp_path / "p.toml")
    assert said in str(error.value)


def test_a_date_after_which_nothing_is_known_is_an_error_in_one_line(place, capsys):
    plan = place / "late.toml"
    plan.write_text(PLAN.replace("test = [2026-02-12, 2026-02-20]", "test = [2026-05-01]"))
    flags = [str(plan), "--shared", str(place), "--work", str(place / "work"), "--only", "again"]
    assert backtest.command(flags) == 2
    assert "2026-05-01 liked anything" in capsys.readouterr().err


def test_no_file_of_the_script_is_an_error_in_one_line(place, capsys):
    assert command(place, "--script", str(place / "none.parquet")) == 2
    assert "none.parquet: cannot be read as Parquet" in capsys.readouterr().err


def test_a_user_s_dates_are_drawn_together():
    values = np.array([[1.0], [1.0], [0.0], [0.0]])
    draws = mean_draws(values, 300, person=np.array(["a", "a", "b", "b"])).draws
    assert set(draws.ravel()) == {0.0, 0.5, 1.0}
