"What is assembled, against an oracle in plain Python that does the obvious thing slowly."

import datetime as dt
import hashlib
import shutil
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lakes import DAY, START, Event, Item, prepare, settings_for, write, write_lake
from properties import examples

from ccf_batch.base.errors import InputError
from ccf_batch.candidates.generators import past_of
from ccf_batch.candidates.pair_features import make_offers
from ccf_batch.data.assemble import Assembly
from ccf_batch.data.batch import Batch
from ccf_batch.data.database import connect
from ccf_batch.evaluation.recall import candidate_recall
from ccf_batch.settings import GENERATOR_NAMES, Settings


def tie(value) -> int:
    return int.from_bytes(hashlib.md5(str(value).encode()).digest()[8:], "little")


class Oracle:
    "The same, one row at a time."

    def __init__(self, items, events, cutoff, liked_above=3.0):
        self.items = sorted(items, key=lambda i: i.id)
        self.row = {i.id: r for r, i in enumerate(self.items)}
        self.cutoff, self.liked_above = cutoff, liked_above
        self.known = [
            e
            for e in events
            if e.ts < cutoff and (e.ingested is None or e.ingested < cutoff) and e.item in self.row
        ]

    def liked(self, e) -> bool:
        return e.rating is None or self.liked_above is None or e.rating > self.liked_above

    def events(self, user) -> list[Event]:
        "A user's events in their total order."
        return sorted(
            (e for e in self.known if e.user == user),
            key=lambda e: (e.ts, e.event_id or "", tie(e.user) ^ tie(e.item)),
        )

    def last_likes(self, user, before=None, since=None) -> list[int]:
        "Different liked item rows, each at its last like, oldest first."
        last = {}
        for e in self.events(user):
            early = before is None or e.ts < before
            if self.liked(e) and early and (since is None or e.ts >= since):
                last.pop(self.row[e.item], None)
                last[self.row[e.item]] = True
        return list(last)

    def seen(self, user, by=None) -> set[int]:
        return {self.row[e.item] for e in self.events(user) if by is None or e.ts <= by}

    @property
    def users(self) -> list:
        return sorted({e.user for e in self.known})

    def candidates(self, user, exclude, supplied=()) -> set[int]:
        "Items that somebody has taken or that are supplied, without what the user is not offered again."
        hidden = self.seen(user) if exclude == "all" else set(self.last_likes(user))
        hidden = set() if exclude == "none" else hidden
        mine = {self.row[item] for u, item, _ in supplied if u == user and item in self.row}
        rows = {self.row[e.item] for e in self.known} | mine
        return {r for r in rows - hidden if self.items[r].available(self.cutoff)}


def groups_of(batch: Batch) -> list[tuple]:
    "(user, history, candidates, sources or labels) of each group."
    out = []
    for g, user in enumerate(batch.user_id.to_pylist()):
        h = slice(*batch.history_offsets[g : g + 2])
        c = slice(*batch.candidate_offsets[g : g + 2])
        told = batch.source[c].to_pylist() if batch.source is not None else batch.label[c].tolist()
        out.append((user, batch.history[h].tolist(), batch.candidate[c].tolist(), told))
    return out


def all_groups(assembly: Assembly, users=1024) -> list[tuple]:
    return [
        group
        for shard in range(assembly.shards)
        for batch in assembly.batches(shard, users)
        for group in groups_of(batch)
    ]


# few users, items and instants, so that ties, repeats and edges at the cut-off are common
moments = st.sampled_from(
    [START + d * DAY + h * dt.timedelta(hours=1) for d in range(4) for h in (0, 9)]
    + [START + 2 * DAY - dt.timedelta(microseconds=1)]
)
ITEMS = 7


@st.composite
def worlds(draw, implicit=False):
    "Items, events and a cut-off date; ids are numbers or strings, optional columns come and go."
    strings = draw(st.booleans())
    name = (lambda kind, n: f"{kind}{n}'\n☃") if strings else (lambda kind, n: n * 10)
    edge = st.none() | moments
    items = [Item(name("i", i), draw(edge), draw(edge)) for i in range(draw(st.integers(2, ITEMS)))]
    with_ingested, with_id = draw(st.booleans()), draw(st.booleans())
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(0, 3),
                st.integers(0, ITEMS),  # the last ones are not in the catalogue
                moments,
                st.none() if implicit else st.sampled_from([1.0, 3.0, 4.0]),
                st.none() | moments if with_ingested else st.none(),
            ),
            min_size=1,
            max_size=40,
        )
    )
    events = [
        Event(name("u", u), name("i", i), ts, rating, arrived, f"e{n}" if with_id else None)
        for n, (u, i, ts, rating, arrived) in enumerate(drawn)
    ]
    return items, events, (START + draw(st.integers(1, 5)) * DAY).date()


@examples(30)
@given(
    world=worlds(),
    history=st.integers(0, 3),
    exclude=st.sampled_from(["all", "liked", "none"]),
    data=st.data(),
)
def test_groups_are_the_oracles(tmp_path_factory, world, history, exclude, data):
    items, events, date = world
    users, ids = sorted({e.user for e in events}), [i.id for i in items] + [events[0].item]
    supplied = data.draw(
        st.lists(
            st.tuples(st.sampled_from(users), st.sampled_from(ids), st.sampled_from(["a", "b"])),
            max_size=4,
        )
    )
    root = tmp_path_factory.mktemp("world")
    write_lake(root, items, events, supplied, date)
    s = settings_for(
        root,
        prompt={"history_length": history},
        cf={"history": False},
        candidates=dict.fromkeys(GENERATOR_NAMES, 0)
        | {"supplied": 9, "new": 9, "exclude_seen": exclude},
        score={"shard_users": 2},
    )
    assembly = Assembly(connect(threads=1), s, date)
    counts = prepare(assembly)
    oracle = Oracle(items, events, assembly.cutoff)

    expected, cold = {}, 0
    supplying = {u for u, i, _ in supplied if i in oracle.row}
    someone_liked = any(oracle.last_likes(user) for user in oracle.users)
    for user in {*oracle.users, *supplying}:
        past = oracle.last_likes(user)
        offered = oracle.candidates(user, exclude, supplied)
        if not someone_liked:  # supplied candidates alone
            offered &= {oracle.row[i] for u, i, _ in supplied if u == user and i in oracle.row}
        if (past or user in supplying) and offered:
            cold += not past
            expected[user] = (past[len(past) - min(len(past), history) :], offered)
    got = all_groups(assembly, users=1)
    assert {user: (past, set(rows)) for user, past, rows, _ in got} == expected
    assert len(got) == len(expected) == counts["users"]
    assert counts["cold_users"] == cold
    assert counts["pairs"] == sum(len(c) for _, c in expected.values())
    assert counts["supplied"] + counts["new"] == counts["pairs"]
    own = {(u, oracle.row[i]): source for u, i, source in sorted(supplied)[::-1] if i in oracle.row}
    for user, _, rows, sources in got:
        assert len(set(rows)) == len(rows)
        for row, source in zip(rows, sources, strict=True):
            assert source in ("new", own.get((user, row)))
    for batch in (b for k in range(assembly.shards) for b in assembly.batches(k)):
        falls = np.diff(batch.offset) <= 0
        falls[batch.candidate_offsets[1:-1] - 1] = True  # from one group to the next
        assert falls.all()

    catalogue = assembly.catalogue()
    assert catalogue.item_id.to_pylist() == [i.id for i in oracle.items]
    assert catalogue.available.tolist() == [i.available(oracle.cutoff) for i in oracle.items]
    assert catalogue.count.tolist() == [
        sum(e.item == i.id for e in oracle.known) for i in oracle.items
    ]


@examples(30)
@given(world=worlds(), history=st.integers(0, 3), newest=st.integers(1, 30))
def test_examples_tell_only_what_came_before(tmp_path_factory, world, history, newest):
    items, events, date = world
    root = tmp_path_factory.mktemp("world")
    write_lake(root, items, events)
    cf = {"history": False, "max_examples": 1}  # not fewer than the language model is trained on
    s = settings_for(
        root,
        prompt={"history_length": history},
        train={"max_examples": newest, "negatives_from": "explicit"},
        candidates={"exclude_seen": "none"},
        cf=cf,
    )
    assembly = Assembly(connect(threads=1), s, date)
    oracle = Oracle(items, events, assembly.cutoff)
    if not oracle.known:
        return
    everything = assembly.examples_after(START)
    check_examples(everything, oracle, history)
    labelled = Counter(
        (e.user, oracle.row[e.item], int(oracle.liked(e)), e.ts) for e in oracle.known
    )
    assert Counter(rows_of(everything)) == labelled

    train, left_out = assembly.examples("train"), assembly.omitted.older
    valid = assembly.examples("valid")
    rows = Counter(rows_of(train)) + Counter(rows_of(valid))
    assert rows <= labelled and rows.total() == min(newest, labelled.total())
    assert (left_out, assembly.omitted.older) == (labelled.total() - rows.total(), 0)
    assert len(valid.candidate) >= 1
    if len(train):
        assert train.event_ts.max() < valid.event_ts.min()
    for batch in (train, valid):
        check_examples(batch, oracle, history)
    unused = labelled - rows
    if unused:
        assert max(ts for *_, ts in unused) <= min(ts for *_, ts in rows)


def rows_of(batch: Batch) -> list[tuple]:
    users = np.array(batch.user_id.to_pylist(), dtype=object)[batch.group_of]
    return list(
        zip(
            users,
            batch.candidate.tolist(),
            batch.label.tolist(),
            batch.event_ts.tolist(),
            strict=True,
        )
    )


def check_examples(batch: Batch, oracle: Oracle, length: int) -> None:
    "Histories are strictly before each row, groups are maximal runs by user and time."
    previous = None
    for g, (user, past, *_) in enumerate(groups_of(batch)):
        times = batch.event_ts[slice(*batch.candidate_offsets[g : g + 2])].tolist()
        assert times and times == sorted(times) and times[-1] < oracle.cutoff
        for ts in times:
            likes = oracle.last_likes(user, before=ts)
            assert past == likes[len(likes) - min(len(likes), length) :]
        if previous is not None:
            assert previous[0] < user or (
                previous[0] == user and previous[1] != past and previous[2] <= times[0]
            )
        previous = (user, past, times[-1])


@examples(30)
@given(
    world=worlds(implicit=True),
    negatives=st.integers(1, 4),
    seed=st.integers(0, 3),
    exclude=st.sampled_from(["all", "liked", "none"]),
)
def test_negatives_could_have_been_offered(tmp_path_factory, world, negatives, seed, exclude):
    items, events, date = world
    root = tmp_path_factory.mktemp("world")
    write_lake(root, items, events)
    train = {"negatives": negatives, "seed": seed}
    s = settings_for(root, train=train, candidates={"exclude_seen": exclude})
    assembly = Assembly(connect(threads=1), s, date)
    oracle = Oracle(items, events, assembly.cutoff)
    batch = assembly.examples_after(START)
    if not oracle.known:
        assert len(batch) == 0
        return
    check_examples(batch, oracle, s.prompt.history_length)
    rows = rows_of(batch)
    likes = Counter((u, r, ts) for u, r, y, ts in rows if y == 1)
    known = Counter((e.user, oracle.row[e.item], e.ts) for e in oracle.known)
    left_out = assembly.omitted
    assert likes <= known and left_out.unpaired + left_out.repeats == (known - likes).total()
    if exclude != "none":  # each user has an item once, and for the first time
        pairs = [(u, r) for u, r, _ in known]
        assert left_out.repeats == len(list(known.elements())) - len(set(pairs))
        assert all(
            n == 1 and min(t for u, r, t in known if (u, r) == (user, row)) == ts
            for (user, row, ts), n in likes.items()
        )
    first = {}
    for e in oracle.known:
        first[e.item] = min(e.ts, first.get(e.item, e.ts))

    def offered(user, r, ts):
        "Whether an item existed, was available, and was neither taken at that moment nor left out."
        item = oracle.items[r]
        exists = item.id in first and (item.since or first[item.id]) <= ts
        had = r in oracle.seen(user, by=ts) if exclude != "none" else (user, r, ts) in known
        return exists and item.available(ts) and not had

    sampled = Counter((u, ts) for u, _, y, ts in rows if y == 0)
    assert all(offered(user, r, ts) for user, r, label, ts in rows if label == 0)
    for (user, ts), n in sampled.items():
        assert n <= negatives * sum(1 for u, _, t in set(likes) if (u, t) == (user, ts))
    # a like without a negative is no example, and one that had nothing to be told from has none
    assert {(u, ts) for u, _, ts in likes} == set(sampled)
    for user, _, ts in likes:
        assert any(offered(user, r, ts) for r in range(len(oracle.items)))
    # the same seed, the same rows, whatever the threads
    again = Assembly(connect(threads=2), s, date).examples_after(START)
    assert sorted(rows_of(again)) == sorted(rows)


def test_negatives_follow_popularity_and_seed(tmp_path):
    "Enough draws: four different ones each, in proportion to popularity^0.75."
    items = [Item(i) for i in range(30)]
    events = [
        Event(1000 + u, i, START + dt.timedelta(minutes=i))
        for i in range(30)
        for u in range(1 + 10 * i)
    ]
    events += [Event(u, 29, START + DAY) for u in range(800)]
    write_lake(tmp_path, items, events)
    s = settings_for(tmp_path, train={"negatives": 4})
    batch = Assembly(connect(), s, (START + 2 * DAY).date()).examples_after(START + DAY)
    assert len(batch.candidate) == 800 * 5 and batch.label.sum() == 800
    drawn = Counter(batch.candidate[batch.label == 0].tolist())
    assert 29 not in drawn  # every user has just taken it
    weights = np.array([(1 + 10 * i) ** 0.75 for i in range(29)])
    heavy = sum(drawn[i] for i in range(15, 29)) / 3200
    # without replacement, so a little flatter than the weights
    assert abs(heavy - weights[15:].sum() / weights.sum()) < 0.06
    # one draw each is in proportion: no other power explains them as well
    one = settings_for(tmp_path, train={"negatives": 1})
    batch = Assembly(connect(), one, (START + 2 * DAY).date()).examples_after(START + DAY)
    item = batch.candidate[batch.label == 0]
    assert len(item) == 800
    likelihood = {}
    for power in (0.5, 0.65, 0.75, 0.85, 1.0):
        weights = np.array([(1 + 10 * i) ** power for i in range(29)])
        likelihood[power] = np.log(weights / weights.sum())[item].sum()
    assert max(likelihood, key=likelihood.get) == 0.75
    other = settings_for(tmp_path, train={"negatives": 4, "seed": 1})
    changed = Assembly(connect(), other, (START + 2 * DAY).date()).examples_after(START + DAY)
    assert changed.candidate.tolist() != batch.candidate.tolist()


@examples(30)
@given(world=worlds(), late=worlds())
def test_an_old_date_looks_the_same_after_new_rows_arrived(tmp_path_factory, world, late):
    "Rows that come in at or after the cut-off change nothing, whenever they happened."
    items, events, date = world
    root = tmp_path_factory.mktemp("world")
    s = settings_for(root, prompt={"history_length": 3})
    cutoff = s.cutoff(date)
    events = [
        Event(e.user, e.item, e.ts, e.rating, min(e.ingested or e.ts, cutoff - DAY)) for e in events
    ]
    names = sorted({e.user for e in events}, key=str)
    ids = [i.id for i in items]
    write_lake(root, items, events)

    def night():
        assembly = Assembly(connect(threads=1), s, date)
        prepare(assembly)
        return all_groups(assembly), rows_of(assembly.examples_after(START))

    before = night()
    new = [
        Event(names[n % len(names)], ids[n % len(ids)], e.ts, e.rating, max(cutoff, e.ts))
        for n, e in enumerate(late[1])
    ]
    write_lake(root, items, events + new)
    assert night() == before


@pytest.mark.parametrize("with_id", [True, False])
def test_a_basket_has_one_order(tmp_path, with_id):
    "Ties go by `event_id`, else by a hash; how rows lie in the file does not matter."
    items = [Item(f"i{i}") for i in range(12)]
    basket = [
        Event(user, item.id, START, 5.0, None, f"e{(7 * n) % 12:02}" if with_id else None)
        for n, item in enumerate(items)
        for user in ("u", "v")
    ]
    oracle = Oracle(items, basket, START + DAY)
    orders = [oracle.last_likes(user)[-5:] for user in ("u", "v")]
    assert (orders[0] == orders[1]) == with_id  # a hash of the row, not of the item alone
    for rows in (basket, basket[::-1], sorted(basket, key=lambda e: tie(e.item))):
        write_lake(tmp_path, items, rows)
        s = settings_for(
            tmp_path, prompt={"history_length": 5}, candidates={"exclude_seen": "none"}
        )
        assembly = Assembly(connect(), s)
        prepare(assembly)
        assert [history for _, history, *_ in all_groups(assembly)] == orders
        later = assembly.examples_after(START)
        assert len(later.history) == 0  # nothing of a basket is before the rest of it


def test_dates_begin_in_the_configured_zone(tmp_path):
    last = dt.datetime(2026, 7, 1, 22, 30)  # half past midnight of the second in Paris
    write_lake(tmp_path, [Item(1), Item(2)], [Event(1, 1, last, 5.0), Event(2, 2, last - DAY, 5.0)])
    paris = settings_for(tmp_path, domain={"zone": "Europe/Paris", "liked_above": 3})
    assembly = Assembly(connect(), paris)
    assert assembly.date == dt.date(2026, 7, 3)
    assert Assembly(connect(), settings_for(tmp_path)).date == dt.date(2026, 7, 2)
    # the database session's own zone has no say
    con = connect()
    con.execute("SET TimeZone = 'Pacific/Auckland'") if icu(con) else None
    night = Assembly(con, paris, dt.date(2026, 7, 2))
    assert night.cutoff == dt.datetime(2026, 7, 1, 22)
    assert night.catalogue().count.tolist() == [0, 1]


def icu(con) -> bool:
    "Zones need DuckDB's icu extension, which is built into the wheels."
    return con.execute(
        "SELECT loaded FROM duckdb_extensions() WHERE extension_name = 'icu'"
    ).fetchone() == (True,)


def test_who_is_left_out_is_counted(tmp_path):
    items = [Item(i) for i in range(5)]
    events = [Event(1, 0, START, 5.0), Event(2, 1, START + 9 * DAY, 5.0), Event(3, 2, START, 1.0)]
    events += [Event(9, i, START + 9 * DAY, 5.0) for i in range(5)]
    date = (START + 10 * DAY).date()
    supplied = [(4, 0, "a"), (1, 7, "a"), (1, 0, "a"), (1, 4, "a")]
    write_lake(tmp_path, items, events, supplied, date)
    assembly = Assembly(connect(), settings_for(tmp_path), date)
    counts = prepare(assembly)
    assert counts["users"] == 3 and counts["no_like"] == 1  # 3 disliked, nothing was supplied
    assert counts["no_candidate"] == 1  # 9 has seen everything
    assert counts["cold_users"] == 1  # 4, for whom a candidate is supplied
    assert (counts["supplied_unknown_item"], counts["supplied_seen"]) == (1, 1)
    of_user = {
        user: dict(zip(rows, sources, strict=True))
        for user, _, rows, sources in all_groups(assembly)
    }
    assert of_user[1][4] == "a" and of_user[4][0] == "a"

    active = settings_for(tmp_path, users={"active_days": 5})
    counts = prepare(Assembly(connect(), active, date))
    assert counts["inactive"] == 2 and counts["users"] == 1
    counts = prepare(assembly, limit_users=1)
    assert counts["limit"] == 3 and counts["users"] <= 1


def test_shards_partition_the_users(tmp_path):
    events = [Event(u, u % 5, START, 5.0) for u in range(200)]
    write_lake(tmp_path, [Item(i) for i in range(5)], events)
    s = settings_for(tmp_path, score={"shard_users": 30})
    assembly = Assembly(connect(), s)
    prepare(assembly)
    assert assembly.shards == 7
    users = []
    for shard in range(assembly.shards):
        mine = [u for b in assembly.batches(shard, 8) for u in b.user_id.to_pylist()]
        assert mine == sorted(mine) and all(tie(u) % 7 == shard for u in mine)
        users += mine
    assert sorted(users) == list(range(200))


def test_supplied_examples_keep_their_histories(tmp_path):
    write_lake(tmp_path, [Item(i) for i in range(1, 6)], [Event(1, 1, START, 5.0)])
    for split, item, label, hour in (("train", 2, 1, 1), ("valid", 3, 0, 2), ("test", 4, 1, 3)):
        write(
            tmp_path / f"lake/examples/split={split}/0.parquet",
            {
                "user_id": [1, 7],
                "item_id": [item, 99],
                "label": pa.array([label, 1], pa.int8()),
                "event_ts": [START + dt.timedelta(hours=hour)] * 2,
                "history": [[0, 5, 1, 4], []],  # 0 is padding
                "not_cold": pa.array([1, 0], pa.int8()),
            },
        )
    s = settings_for(tmp_path, prompt={"history_length": 2})
    assembly = Assembly(connect(), s)
    assert groups_of(assembly.examples("train")) == [(1, [0, 3], [1], [1])]
    assert assembly.omitted.older == 1  # an item that the catalogue lacks
    assert assembly.examples("valid").not_cold.tolist() == [1]
    assert groups_of(assembly.examples_after(START)) == [(1, [0, 3], [3], [1])]
    assert len(assembly.examples_after(START + 4 * dt.timedelta(hours=1))) == 0
    earlier = Assembly(connect(), s, START.date())
    assert len(earlier.examples("train")) == 0  # the cut-off holds for them too
    shutil.rmtree(tmp_path / "lake/examples/split=valid")
    with pytest.raises(InputError, match="split=valid"):
        assembly.examples("valid")


def test_supplied_examples_without_histories_get_them_from_interactions(tmp_path):
    write_lake(tmp_path, [Item(i) for i in "abc"], [Event("u", i, START, 5.0) for i in "ab"])
    write(
        tmp_path / "lake/examples/split=train/0.parquet",
        {
            "user_id": ["u", "new"],
            "item_id": ["c", "a"],
            "label": pa.array([1, 0], pa.int8()),
            "event_ts": [START + dt.timedelta(hours=1)] * 2,
        },
    )
    assembly = Assembly(connect(), settings_for(tmp_path))
    oracle = Oracle(
        [Item(i) for i in "abc"], [Event("u", i, START, 5.0) for i in "ab"], START + DAY
    )
    assert groups_of(assembly.examples("train")) == [
        ("new", [], [0], [0]),
        ("u", oracle.last_likes("u"), [2], [1]),
    ]


def test_a_lake_with_glob_characters_in_its_path(tmp_path):
    root = tmp_path / "[a] b*?"
    write_lake(root, [Item(1), Item(2)], [Event(1, 1, START, 5.0), Event(2, 2, START, 5.0)])
    assert prepare(Assembly(connect(), settings_for(root)))["users"] == 2


def test_mistakes_in_the_tables(tmp_path):
    s = settings_for(tmp_path)
    with pytest.raises(InputError, match=r"interactions.*ccf_batch\.ingest"):
        Assembly(connect(), s)
    write_lake(tmp_path, [Item(1), Item(1)], [Event(1, 1, START, 5.0)])
    with pytest.raises(InputError, match="item_id 1 "):
        Assembly(connect(), s)


def test_recall_counts_each_coming_like_once(tmp_path):
    items = [Item(i) for i in range(4)] + [Item(4, since=START + 9 * DAY)]
    events = [Event(u, i, START, 5.0) for u, i in [(1, 0), (1, 1), (2, 0), (3, 2)]]
    events += [Event(3, 3, START, 1.0)]
    after = START + DAY
    events += [
        Event(2, 1, after, 5.0),  # co-visited with item 0, by user 1
        Event(2, 1, after + DAY, 5.0),  # the same again counts once
        Event(3, 0, after, 5.0),  # popular
        Event(3, 3, after, 5.0),  # seen before
        Event(2, 3, after, 5.0),  # nobody had liked it
        Event(2, 4, after, 5.0),  # not available yet
        Event(8, 0, after, 5.0),  # a new user
        Event(1, 2, after, 1.0),  # no like
        Event(1, 2, after + 7 * DAY, 5.0),  # too late
    ]
    write_lake(tmp_path, items, events)
    night = Assembly(connect(), settings_for(tmp_path), after.date())
    offers = make_offers(past_of(night), {"covisited": 9, "popular": 9}, "all")
    rows = {row.source: row for row in candidate_recall(night, offers, days=7)}
    assert {source: row.likes for source, row in rows.items()} == {
        "any": 2,
        "covisited": 1,
        "popular": 2,
        "missed: seen before": 1,
        "missed: not a candidate": 1,
        "missed: item not available": 1,
        "missed: user not scored": 1,
    }
    assert rows["any"].share == pytest.approx(2 / 6)
    assert (rows["covisited"].alone, rows["popular"].alone) == (0, 1)


@pytest.mark.shared
def test_histories_of_ml_1m_ctr_are_kept(shared, tmp_path):
    "Through ingest, each example has the last items of the papers' own history."
    from ccf_batch import ingest
    from ccf_batch.base.settings_file import load

    config = tmp_path / "ccf.toml"
    flags = ["--source", str(shared / "ml-1m-ctr")]
    ingest.run(load(ingest.IngestCommand, config, flags, missing_ok=True))
    s = load(Settings, config)
    assembly = Assembly(connect(), s)
    item_id = assembly.catalogue().item_id.to_numpy()
    batch = assembly.examples("valid")
    got = Counter(
        (u, int(item_id[r]), y, tuple(item_id[past].tolist()))
        for (u, past, rows, labels) in groups_of(batch)
        for r, y in zip(rows, labels, strict=True)
    )
    table = pq.read_table(shared / "ml-1m-ctr/valid.parquet").to_pylist()
    assert got == Counter(
        (
            r["user_id"],
            r["item_id"],
            r["label"],
            tuple(i for i in r["history"] if i)[-s.history_length :],
        )
        for r in table
    )
