"Generators and pair features against plain Python, and nothing of the future in either."

import datetime as dt
import random
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lakes import Event, Item, settings_for, write_lake

from ccf_batch.candidates import generators, pair_features, replay
from ccf_batch.candidates.generators import GENERATORS, CannotOffer, Past, ranked
from ccf_batch.candidates.matrices import read_matrices
from ccf_batch.candidates.pair_features import UNRANKED, make_offers
from ccf_batch.candidates.replay import plan_nights, positives_of, replay_night
from ccf_batch.data.assemble import Assembly
from ccf_batch.data.database import connect

FIRST = dt.datetime(2026, 1, 1)
NIGHT = dt.date(2026, 3, 1)
COUNTS = dict.fromkeys(GENERATORS, 5)
ALL = {"liked_above": 3}


def events_of(seed=0, n=700, users=25, items=18, days=80):
    "Ratings of users who come back, some items more than once; the last items are new late."
    dice = random.Random(seed)
    out = []
    for _ in range(n):
        when = FIRST + dt.timedelta(days=dice.random() * days)
        newest = items - 4 + int(4 * (when - FIRST).days / days)
        item = min(int(dice.paretovariate(0.6)) - 1, newest - 1)
        user = dice.randrange(users)
        rating = 5.0 if (user + item) % 3 else 2.0
        out.append(Event(f"u{user:02}", f"i{max(item, 0):02}", when, rating))
    return out


def items_of(n=18, **since):
    return [Item(f"i{k:02}", since.get(f"i{k:02}")) for k in range(n)]


def lake(root, events, items=None):
    write_lake(root, items or items_of(), events)
    return settings_for(root, attributes={"categorical": []})


def past_of(settings, date=NIGHT):
    assembly = Assembly(connect(), settings, date)
    return Past(read_matrices(assembly), assembly.catalogue(), settings), assembly


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    events = events_of()
    settings = lake(tmp_path_factory.mktemp("world"), events)
    past, assembly = past_of(settings)
    known = [e for e in events if e.ts < dt.datetime.combine(NIGHT, dt.time())]
    users = [
        u
        for (u,) in assembly.con.execute(
            "SELECT user_id FROM assembly.users ORDER BY user_row"
        ).fetchall()
    ]
    items = [past.catalogue.item_id[int(r)].as_py() for r in past.matrices.rows]
    return past, known, users, items


def liked_in_order(known, user):
    "Different items that a user liked, the newest first."
    last = {}
    for e in known:
        if e.user == user and e.rating > 3:
            last[e.item] = max(last.get(e.item, e.ts), e.ts)
    return sorted(last, key=last.get, reverse=True)


def table_of(strengths):
    return strengths if isinstance(strengths, np.ndarray) else strengths.toarray()


# --- ranks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_of_each_row_ties_by_column(seed):
    dice = np.random.default_rng(seed)
    values = dice.choice([-2.5, -0.0, 0.0, 1e-30, 0.5, 3.0, np.inf], (7, 30)).astype(np.float32)
    shown = dice.random((7, 30)) < 0.7
    row, column = np.nonzero(shown)
    found = ranked(row, column, values[row, column], 4)
    expected = []
    for r in range(7):
        best = sorted(
            np.flatnonzero(shown[r]), key=lambda c: (-values[r, c], np.signbit(values[r, c]), c)
        )
        expected += [(r, c, place, values[r, c]) for place, c in enumerate(best[:4])]
    assert list(zip(*(x.tolist() for x in found), strict=True)) == expected


def test_of_nothing_nothing_is_ranked():
    nothing = np.zeros(0, np.int64)
    assert [len(x) for x in ranked(nothing, nothing, nothing.astype(np.float32), 3)] == [0, 0, 0, 0]


# --- strengths ---------------------------------------------------------------------------------------


def test_what_a_user_took_and_when(world):
    past, known, users, items = world
    m, night = past.matrices, dt.datetime.combine(NIGHT, dt.time())
    times = Counter((e.user, e.item) for e in known)
    expected = [[times[u, i] for i in items] for u in users]
    assert m.taken.toarray().tolist() == expected
    assert (
        table_of(GENERATORS["repeat"](past).strengths(np.arange(len(users)))).tolist() == expected
    )
    rows = np.repeat(np.arange(len(users)), np.diff(m.taken.indptr))
    for r, c, last, first in zip(rows, m.taken.indices, m.last_days, m.first_days, strict=True):
        when = [e.ts for e in known if (e.user, e.item) == (users[r], items[c])]
        assert last == pytest.approx((night - max(when)) / dt.timedelta(days=1), abs=1e-4)
        assert first == pytest.approx((night - min(when)) / dt.timedelta(days=1), abs=1e-4)


def test_popular_windows_hold_events_of_days_that_have_some(world):
    past, known, _, items = world
    by_day = Counter(e.ts.date() for e in known)
    newest = sorted(by_day, reverse=True)[:28]
    median = np.median([by_day[d] for d in newest])
    in_order = sorted((e.ts for e in known), reverse=True)
    for k, days in enumerate((7, 30, 90)):
        start = in_order[min(len(in_order), int(np.ceil(days * median))) - 1]
        likes = Counter(e.item for e in known if e.rating > 3 and e.ts >= start)
        assert past.matrices.popular[:, k].tolist() == [likes[i] for i in items]
    likes = Counter(e.item for e in known if e.rating > 3)
    assert past.matrices.popular[:, 3].tolist() == [likes[i] for i in items]


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_an_event_before_the_year_1_opens_no_window_that_python_cannot_tell(tmp_path, unit):
    settings = lake(tmp_path, events_of())
    early = pa.array([np.iinfo(np.int64).min + 10**15], pa.int64()).cast(pa.timestamp(unit))
    rows = {"user_id": ["u00"], "item_id": ["i00"], "rating": [5.0], "event_ts": early}
    pq.write_table(pa.table(rows), tmp_path / "lake/interactions/date=2026-01-01/1.parquet")
    past, assembly = past_of(settings)
    assert past.matrices.popular[0, -1] >= 1 and np.isfinite(past.matrices.item_days[0])
    assert len(plan_nights(assembly, "all").dates)


@pytest.mark.parametrize("name", ["covisited", "neighbours", "all_neighbours"])
def test_item_pairs_against_counting(world, name):
    past, known, users, items = world
    liked = {u: liked_in_order(known, u) for u in users}
    n = Counter(i for u in users for i in liked[u])
    both = Counter((a, b) for u in users for a in liked[u] for b in liked[u] if a != b)
    found = table_of(GENERATORS[name](past).strengths(np.arange(len(users))))
    for r, u in enumerate(users):
        for c, i in enumerate(items):
            total = 0
            for age, j in enumerate(liked[u]):
                weight = 1 if name == "all_neighbours" else 0.9**age * (age < 30)
                pair = both[j, i]
                if name != "covisited":
                    pair /= ((n[j] + 10) * (n[i] + 10)) ** 0.5
                total += weight * pair
            assert found[r, c] == pytest.approx(total, rel=1e-5), (u, i)


def test_only_the_strongest_pairs_are_kept_whatever_is_computed_at_a_time(world, monkeypatch):
    past, *_ = world
    whole = generators.pairs_of(past.matrices)
    monkeypatch.setattr(generators, "PAIRS_AT_A_TIME", 20)
    for a, b in zip(whole, generators.pairs_of(past.matrices), strict=True):
        assert (a.toarray() == b.toarray()).all()
    monkeypatch.setattr(generators, "KEPT", 3)
    for a, b in zip(whole, generators.pairs_of(past.matrices), strict=True):
        a, b = a.toarray(), b.toarray()
        assert ((b > 0).sum(1) == np.minimum((a > 0).sum(1), 3)).all()
        for row, kept in zip(a, b, strict=True):
            best = sorted(np.flatnonzero(row), key=lambda c: (-row[c], c))[:3]
            assert sorted(best) == np.flatnonzero(kept).tolist()


def test_a_linear_model_of_items_is_ease(world):
    past, *_ = world
    X = past.matrices.likes.toarray().astype(float)
    P = np.linalg.inv(X.T @ X + generators.EASE_PENALTY * np.eye(X.shape[1]))
    B = np.eye(len(P)) - P / np.diag(P)
    found = GENERATORS["linear"](past).strengths(np.arange(len(X)))
    assert np.allclose(found, X @ B, atol=1e-5)


def test_factors_are_the_same_again(world):
    past, *_ = world
    one, other = (GENERATORS["factors"](past).strengths(np.arange(5)) for _ in range(2))
    assert (one == other).all() and np.ptp(one) > 0


def with_titles(past, titles):
    return replace(past, catalogue=replace(past.catalogue, title=pa.array(titles)))


def test_words_offer_what_nobody_has_taken(tmp_path):
    events = [Event("ann", "i00", FIRST, 5.0), Event("bob", "i01", FIRST, 5.0)]
    past, _ = past_of(lake(tmp_path, events, [Item(f"i{k:02}", FIRST) for k in range(12)]))
    titles = ["sea wolf", "old man", "sea hawk", *(f"word{k}" for k in range(9))]
    strengths = table_of(GENERATORS["text"](with_titles(past, titles)).strengths(np.arange(2)))
    assert np.flatnonzero(strengths[0]).tolist() == [0, 2] and not strengths[1].any()


def test_a_generator_without_what_it_needs_is_named(tmp_path, capsys, monkeypatch):
    events = [Event("ann", "i00", FIRST, 5.0), Event("bob", "i01", FIRST, 5.0)]
    past, _ = past_of(lake(tmp_path, events))
    past = with_titles(past, pa.array([None] * 18, pa.string()))
    monkeypatch.setattr(generators, "EASE_ITEMS", 1)
    offers = make_offers(past, COUNTS, "none")
    assert not {"text", "linear"} & offers.generators.keys()
    out = capsys.readouterr().out
    assert "no candidates of text: no word is in at least two items" in out
    assert "no candidates of linear: more than 1 items" in out
    with pytest.raises(CannotOffer):
        GENERATORS["text"](past)


# --- candidates and features ---------------------------------------------------------------------------


@pytest.mark.parametrize("exclude", ["all", "liked", "none"])
def test_candidates_are_the_best_that_may_be_offered(world, exclude):
    past, known, users, items = world
    offers = make_offers(past, COUNTS, exclude)
    found = offers.of(np.arange(len(users)))
    place = {row: c for c, row in enumerate(past.matrices.rows)}
    offered = {(users[g], items[place[i]]) for g, i in zip(found.group, found.item, strict=True)}
    assert len(offered) == len(found.group)
    took = {(e.user, e.item) for e in known if exclude == "all" or e.rating > 3}
    assert bool(offered & took) == (exclude == "none")
    if exclude == "liked":
        assert offered & {(e.user, e.item) for e in known}
    # ranks are those of the strengths among what may be offered
    for k, (name, generator) in enumerate(offers.generators.items()):
        rank, strength = found.features[:, 2 * k], found.features[:, 2 * k + 1]
        values = table_of(generator.strengths(np.arange(len(users))))
        column = [place[i] for i in found.item]
        assert np.allclose(strength, values[found.group, column])
        for g in range(len(users)):
            ranks = sorted(rank[(found.group == g) & (rank < UNRANKED)])
            assert ranks == list(range(len(ranks))) and len(ranks) <= COUNTS[name]
            mine = found.group == g
            by_rank = strength[mine][np.argsort(rank[mine])][: len(ranks)]
            assert (np.diff(by_rank) <= 0).all()


def test_features_say_what_happened(world):
    past, known, users, items = world
    offers = make_offers(past, COUNTS, "none")
    found, column = offers.of(np.arange(len(users))), {c: k for k, c in enumerate(offers.columns)}
    assert found.features.shape == (len(found.group), len(offers.columns))
    night = dt.datetime.combine(NIGHT, dt.time())
    place = {row: c for c, row in enumerate(past.matrices.rows)}
    of_user, of_item = defaultdict(list), defaultdict(list)
    for e in known:
        of_user[e.user].append(e)
        of_item[e.item].append(e.ts)
    day = dt.timedelta(days=1)
    for g, i, row in zip(found.group, found.item, found.features, strict=True):
        user, item = users[g], items[place[i]]
        mine = [e.ts for e in of_user[user] if e.item == item]
        assert row[column["times_taken"]] == len(mine)
        expected = (night - max(mine)) / day if mine else np.nan
        assert row[column["days_since_taken"]] == pytest.approx(expected, abs=1e-3, nan_ok=True)
        between = (max(mine) - min(mine)) / day / len(mine) if mine else np.nan
        assert row[column["days_between"]] == pytest.approx(between, abs=1e-3, nan_ok=True)
        assert row[column["item_days"]] == pytest.approx(
            (night - min(of_item[item])) / day, abs=1e-3
        )
        assert row[column["user_events"]] == len(of_user[user])
        assert row[column["user_items"]] == len({e.item for e in of_user[user]})
        most = past.matrices.popular[:, 3].max()
        share = (row[column["popular_all"]] + 1) / (most + 1)
        assert row[column["relative_all"]] == pytest.approx(share)
        last = max(e.ts for e in of_user[user])
        assert row[column["user_days"]] == pytest.approx((night - last) / day, abs=1e-3)


# --- replayed nights -------------------------------------------------------------------------------------


def night_of(settings, date=NIGHT, known=dt.datetime(2026, 4, 1), exclude="all", **more):
    return replay_night(settings, date, known, 14, COUNTS, exclude, **more)


def assert_equal(one, other):
    for name, a, b in zip(one._fields, one, other, strict=True):
        if isinstance(a, tuple):
            assert_equal(a, b)
        elif isinstance(a, np.ndarray):
            assert np.array_equal(a, b, equal_nan=name == "features"), name
        else:
            assert a == b, name


def test_labels_are_what_users_took_next(world, tmp_path):
    events = events_of()
    settings = lake(tmp_path, events)
    for exclude in ("all", "liked", "none"):
        night = night_of(settings, exclude=exclude)
        start = dt.datetime.combine(NIGHT, dt.time())
        end = start + dt.timedelta(days=14)
        before = {(e.user, e.item) for e in events if e.ts < start}
        liked = {(e.user, e.item) for e in events if e.ts < start and e.rating > 3}
        hidden = {"all": before, "liked": liked, "none": set()}[exclude]
        regulars = {u for u, _ in liked}
        nexts = {(e.user, e.item) for e in events if start <= e.ts < end and e.rating > 3}
        nexts = {(u, i) for u, i in nexts - hidden if u in regulars}
        assert night.positives.sum() == len(nexts)
        assert len(night.users) == len({u for u, _ in nexts})
        assert night.label.sum() > 0
        had = night.features[:, night.columns.index("times_taken")] > 0
        if exclude == "all":  # the bit "had it before" tells nothing
            assert not had.any()


def test_a_like_that_arrived_later_is_no_label(tmp_path):
    events = [
        Event("ann", "i00", FIRST, 5.0),
        Event("bob", "i00", FIRST, 5.0),
        Event("bob", "i01", FIRST, 5.0),
        Event("ann", "i01", dt.datetime(2026, 3, 2), 5.0, ingested=dt.datetime(2026, 3, 20)),
    ]
    settings = lake(tmp_path, events)
    assert night_of(settings, known=dt.datetime(2026, 3, 15)).positives.sum() == 0
    assert night_of(settings, known=dt.datetime(2026, 3, 21)).positives.sum() == 1


@pytest.mark.parametrize("what", ["deleted", "tripled", "permuted", "new items"])
def test_nothing_of_the_future_reaches_candidates_or_features(tmp_path, what):
    events = events_of()
    start = dt.datetime.combine(NIGHT, dt.time())
    past, future = [e for e in events if e.ts < start], [e for e in events if e.ts >= start]
    one, _ = past_of(lake(tmp_path / "one", events))
    items, dice = items_of(), random.Random(1)
    if what == "deleted":
        future = []
    elif what == "tripled":
        future = [
            Event(e.user, e.item, e.ts + k * dt.timedelta(hours=1), e.rating)
            for e in future
            for k in range(3)
        ]
    elif what == "permuted":
        shuffled = dice.sample(future, len(future))
        future = [
            Event(a.user, b.item, a.ts, b.rating) for a, b in zip(future, shuffled, strict=True)
        ]
    else:
        items = [*items, *(Item(f"h{k}", dt.datetime(2026, 3, 5)) for k in range(9))]
    other, _ = past_of(lake(tmp_path / "other", past + future, items))
    found = []
    for world in (one, other):
        offers = make_offers(world, COUNTS, "all")
        candidates = offers.of(np.arange(world.matrices.shape[0]))
        ids = world.catalogue.item_id.take(np.asarray(candidates.item)).to_pylist()
        found.append((candidates.group.tolist(), ids, candidates.features))
    assert found[0][:2] == found[1][:2]
    assert np.array_equal(found[0][2], found[1][2], equal_nan=True)


def test_blocks_change_no_candidate(tmp_path, monkeypatch):
    settings = lake(tmp_path, events_of())
    whole = night_of(settings)
    monkeypatch.setattr(pair_features, "BLOCK", 40)
    parts = night_of(settings)
    assert_equal(whole, parts)


def test_the_history_is_the_newest_likes_oldest_first(world):
    past, known, users, _ = world
    chosen = np.array([4, 0, 11])
    found = past.matrices.histories(chosen, 3)
    for place, user in enumerate(chosen):
        first, end = found.offsets[place : place + 2]
        items = [past.catalogue.item_id[int(row)].as_py() for row in found.item[first:end]]
        assert items == liked_in_order(known, users[user])[:3][::-1]


def test_a_sample_of_users_is_by_their_ids(tmp_path):
    settings = lake(tmp_path, events_of())
    whole, some = night_of(settings), night_of(settings, users=4)
    assert len(some.users) == 4 and set(some.users) <= set(whole.users)
    assert_equal(some, night_of(settings, users=4))


def test_a_night_of_which_nobody_came_back(tmp_path):
    settings = lake(tmp_path, [e for e in events_of() if e.ts < dt.datetime(2026, 2, 1)])
    night = night_of(settings)
    assert len(night.users) == len(night.label) == 0 and night.features.shape[1] == len(
        night.columns
    )


def planned(root, events, exclude="all", date=NIGHT):
    assembly = Assembly(connect(), lake(root, events), date)
    assembly.build_users()
    return plan_nights(assembly, exclude), assembly


def test_windows_are_counted_as_the_nights_themselves_count(tmp_path):
    "The plan's groups are the users that each night finds."
    settings = lake(tmp_path, events_of(n=2000))
    assembly = Assembly(connect(), settings, NIGHT)
    assembly.build_users()
    for exclude in ("all", "liked", "none"):
        counted = dict(
            replay.execute(
                assembly.con,
                "candidates/groups_of_windows",
                cutoff=assembly.cutoff,
                days=7,
                nights=5,
                exclude=exclude,
            ).fetchall()
        )
        for k in range(5):
            date = NIGHT - dt.timedelta(days=7 * (k + 1))
            night = Assembly(connect(), settings, date)
            night.build_users()
            positives = positives_of(night, assembly.cutoff, 7, exclude)
            assert counted.get(k, 0) == (np.diff(positives.indptr) > 0).sum(), (exclude, k)


def test_the_horizon_grows_where_few_come_back_within_a_fifth_of_the_days(tmp_path):
    plan, _ = planned(tmp_path / "a", events_of(n=2000))
    assert plan.horizon == 11  # a fifth of 59 days
    assert plan.dates == [NIGHT - dt.timedelta(days=11 * k) for k in range(1, 6)]
    old = [Event(e.user, e.item, FIRST + (e.ts - FIRST) * 6, e.rating) for e in events_of(n=2000)]
    plan, _ = planned(tmp_path / "b", old, date=dt.date(2027, 1, 1))
    assert plan.horizon == 56


def test_no_night_where_there_is_nothing(tmp_path):
    plan, _ = planned(tmp_path, [Event("ann", "i00", FIRST, 5.0)])
    assert plan.dates == []
