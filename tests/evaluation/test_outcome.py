"Published lists against what came after, on a lake small enough to count by hand."

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccf_batch.base.errors import InputError, NothingToDo
from ccf_batch.candidates.generators import GENERATORS, past_of
from ccf_batch.candidates.pair_features import make_offers
from ccf_batch.data.assemble import Assembly
from ccf_batch.data.database import connect
from ccf_batch.data.ranked import date_folder, row_schema
from ccf_batch.evaluation.outcome import depths_of, measure, measure_lists, sheets
from ccf_batch.evaluation.simple_lists import simple_lists
from ccf_batch.metrics import mean_draws, percentiles
from ccf_batch.night import publish
from ccf_batch.night.run import Run, fingerprint_run, locked
from ccf_batch.settings import Candidates, Domain, Settings

NIGHT = dt.date(2026, 3, 1)
MAP = pa.map_(pa.string(), pa.list_(pa.string()))
# (user, item, day of the year's third month; before 1 is February's end), all likes unless said
BEFORE = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "c"), ("w", "a"), ("x", "d")]
AFTER = [("u", "c", 5), ("u", "e", 5), ("v", "b", 4), ("v", "b", 3), ("y", "a", 5), ("x", "a", 5)]
LISTS = {"u": ["e", "c"], "v": ["d", "e"], "w": ["b"]}


def write_lake(folder, ids=lambda x: x):
    rows = [(u, i, 5.0, dt.datetime(2026, 2, 20, 9, k)) for k, (u, i) in enumerate(BEFORE)]
    rows += [(u, i, r, dt.datetime(2026, 3, 2, 9)) for u, i, r in AFTER]
    rows += [("w", "f", 5.0, dt.datetime(2026, 3, 8))]  # the eighth day: too late
    for day in {r[3].date() for r in rows}:
        u, i, r, t = zip(*(row for row in rows if row[3].date() == day), strict=True)
        place = folder / f"interactions/date={day}"
        place.mkdir(parents=True)
        columns = {"user_id": [ids(x) for x in u], "item_id": i, "rating": r}
        table = pa.table(columns | {"event_ts": pa.array(t, pa.timestamp("us"))})
        pq.write_table(table, place / "a.parquet")
    (folder / "items").mkdir()
    attributes = pa.array([[]] * 6, MAP)
    items = {"item_id": list("abcdef"), "title": list("ABCDEF"), "attributes": attributes}
    pq.write_table(pa.table(items), folder / "items/a.parquet")


def publish_lists(settings, lists=LISTS):
    rows = [(u, i, k + 1) for u in sorted(lists) for k, i in enumerate(lists[u])]
    fingerprint = fingerprint_run(NIGHT, [], "b", settings)
    with locked(settings.ranked, NIGHT):
        run = Run(settings.ranked, NIGHT, fingerprint, {})
        schema = row_schema(pa.string(), pa.string())
        with publish.write_shard(run, 0, 1, schema) as shard:
            u, i, k = zip(*rows, strict=True) if rows else ([], [], [])
            columns = {"user_id": pa.array(u, pa.string()), "item_id": pa.array(i, pa.string())}
            columns |= {"rank": pa.array(k, pa.int32())}
            columns |= {n: pa.array([0.5] * len(u), pa.float32()) for n in ("score", "margin")}
            texts = ("source", "reason", "bundle", "run_id")
            columns |= {n: pa.array(["x"] * len(u), pa.string()) for n in texts}
            shard.write(pa.table(columns))
        publish.publish(run, 1, {})


@pytest.fixture
def settings(tmp_path):
    write_lake(tmp_path / "lake")
    s = Settings(top_k=2, domain=Domain(liked_above=3))
    s._workspace = tmp_path
    publish_lists(s)
    return s


def test_numbers_are_those_counted_by_hand(settings):
    found = measure(connect(), settings, NIGHT, days=7, resamples=50)
    ours, popular = found.rows[:2]
    assert (ours["list"], ours["k"], popular["list"]) == ("published", 2, "popular")
    # u (c, e) and v (b) have a list and liked something; w liked nothing. x and y liked but have none:
    # x had liked something before and counts as 0, y is new
    assert ours["users"] == 3 and ours["users_covered"] == 2 / 4
    assert ours["recall"] == ours["hit_rate"] == ours["ndcg"] == pytest.approx((1 + 0 + 0) / 3)
    # most popular: a (3 likes), b, c, d (1 each, by id). u has seen a, b; v a, c; x d
    assert popular["recall"] == pytest.approx((1 / 2 + 1 + 1) / 3) and popular["hit_rate"] == 1
    best = 1 + 1 / np.log2(3)
    assert popular["ndcg"] == pytest.approx((1 / best + 1 + 1) / 3)
    assert ours["recall_diff"] == pytest.approx(-0.5) and popular["recall_diff"] == 0
    assert ours["full_lists"] == 2 / 4 and popular["full_lists"] == 1
    assert ours["items_covered"] == 4 / 6  # b, c, d, e of a to f
    # popularity: a 3 users, b, c, d 1, e 0. Histories: u (3+1)/2, v (3+1)/2, w 3
    lists = (0 + 1) / 2 + (1 + 0) / 2 + 1
    assert ours["popularity_lift"] == pytest.approx(lists / (2 + 2 + 3) - 1)
    # u liked a and b, v liked a and c: c is co-visited for u, b for v, and they liked these
    simple = {r["list"]: r for r in found.rows[2:]}
    assert simple["covisited"]["recall"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert simple["covisited"]["recall_diff"] == pytest.approx(-1 / 3)
    assert "repeat" not in simple  # it has nothing that users had not taken
    sources = {r.source: r.likes for r in found.recall}
    missed = sum(n for source, n in sources.items() if source.startswith("missed"))
    assert sources["any"] + missed == 5  # pairs that were liked
    assert "4 users liked something (5 likes), 2 of them" in found.notes[0]
    best = max(r["ndcg"] for r in found.rows[1:])
    assert found.notes[1].startswith("1 others had liked something before the night")
    said = f"an NDCG@2 of {best:.4f}; the published list has 0.3333, {1 / 3 / best:.2f} of it"
    assert said in found.notes[2] and len(found.notes) == 3


def test_only_the_days_asked_for_count_and_missing_ones_are_said(settings):
    found = measure(connect(), settings, NIGHT, days=8, resamples=10)
    assert found.rows[0]["users"] == 4  # w's like of the eighth day
    found = measure(connect(), settings, NIGHT, days=30, resamples=10)
    assert any("not all 30 days are there yet" in note for note in found.notes)
    with pytest.raises(NothingToDo, match="nothing was liked from 2026-03-01"):
        measure(connect(), settings, NIGHT, days=1)


def test_the_nights_own_settings_count_not_todays(settings):
    today = settings.model_copy(update={"top_k": 9, "domain": Domain(liked_above=4.9)})
    assert measure(connect(), today, NIGHT, 7, 10).rows[0]["k"] == 2
    assert measure(connect(), today, NIGHT, 7, 10).rows[0]["users"] == 3
    again = settings.model_copy(
        update={"candidates": Candidates(exclude_seen=False), "paths": settings.paths}
    )
    publish_lists(again)
    popular = measure(connect(), settings, NIGHT, 7, 10).rows[1]
    assert popular["recall"] == pytest.approx((0 + 1 + 1) / 3)  # a and b for everyone, seen or not


def test_lists_that_are_not_there_are_refused(settings):
    with pytest.raises(InputError, match="score --date 2026-03-02"):
        measure(connect(), settings, NIGHT + dt.timedelta(days=1), 7)
    folder = date_folder(settings.ranked, NIGHT)
    (file,) = folder.glob("*.parquet")
    file.rename(folder / "aside")
    with pytest.raises(InputError, match="--overwrite"):
        measure(connect(), settings, NIGHT, 7)


def test_lists_of_nobody_who_did_anything(settings):
    publish_lists(settings, {"w": ["a"]})
    with pytest.raises(NothingToDo, match="none of them has a list"):
        measure(connect(), settings, NIGHT, 7)
    publish_lists(settings, {})
    with pytest.raises(NothingToDo, match="none of them has a list"):
        measure(connect(), settings, NIGHT, 7)


def test_a_list_made_from_another_lake_is_refused(settings, tmp_path):
    write_lake(tmp_path / "numbers", ids=ord)
    moved = settings.model_copy(
        update={"paths": settings.paths.model_copy(update={"lake": tmp_path / "numbers"})}
    )
    with pytest.raises(InputError, match="user_id is VARCHAR, in the lake it is BIGINT"):
        measure(connect(), moved, NIGHT, 7)


def test_intervals_are_over_users_who_liked_anything():
    rng = np.random.default_rng(0)
    owner, rank = np.repeat(np.arange(40), 6), np.tile(np.arange(1, 7), 40)
    one, two = rng.random(240) < 0.3, rng.random(240) < 0.2
    relevant = np.bincount(owner, one | two, 40).astype(int)
    shown = {"published": (owner, rank, one), "popular": (owner, rank, two)}
    row = measure_lists(shown, relevant, [3], resamples=80, seed=4)[0]
    users = relevant > 0
    values = [
        np.bincount(owner, hit & (rank <= 3), 40)[users] / relevant[users] for hit in (one, two)
    ]
    _, draws = mean_draws(np.stack(values, 1), 80, 4)
    assert (row["recall_low"], row["recall_high"]) == pytest.approx(percentiles(draws[:, 0]))
    paired = percentiles(draws[:, 0] - draws[:, 1])
    assert (row["recall_diff_low"], row["recall_diff_high"]) == pytest.approx(paired)
    assert row["users"] == users.sum()


def test_tables_have_a_cell_for_every_column(settings):
    found = measure(connect(), settings, NIGHT, 7, 10)
    for sheet in sheets(found):
        assert sheet.rows and all(len(row) == len(sheet.columns) for row in sheet.rows)
    assert depths_of(7) == [5, 7]
    json.dumps(found.rows)  # plain numbers


def test_before_the_first_event_there_is_no_simple_list(settings):
    "A night may have been published from supplied candidates alone."
    assembly = Assembly(connect(), settings, dt.date(2026, 2, 1))
    offers = make_offers(past_of(assembly), dict.fromkeys(GENERATORS, 2), "all")
    assert simple_lists(offers, pa.array(["u"]), 2) == {}
