"The limit of first places: what it keeps, what it leaves alone, and that a night's lists follow it."

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lakes import Event, Item, settings_for, write_lake

from ccf_batch.candidates.first_places import (
    LEAST,
    limit_first_places,
    place_in_group,
    price_items,
    price_night,
)
from ccf_batch.candidates.first_stage import first_stage_of
from ccf_batch.candidates.generators import GENERATORS, past_of
from ccf_batch.candidates.pair_features import columns_of, make_offers
from ccf_batch.candidates.ranker import fuse_ranks
from ccf_batch.data.assemble import Assembly
from ccf_batch.data.database import connect

NIGHT = dt.date(2026, 3, 1)


def held(group, item, score, items):
    "First places of each item."
    return np.bincount(item[place_in_group(group, score, item) == 1], minlength=items)


@st.composite
def lists(draw):
    "Lists of 1 to 200 users with 2 to 8 candidates each, some of them favourites."
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    users, items = draw(st.integers(1, 200)), 12
    size = rng.integers(2, 9, users)
    group = np.repeat(np.arange(users), size)
    item = np.concatenate([rng.permutation(items)[:n] for n in size])
    score = rng.normal(size=len(item)) + draw(st.sampled_from([0, 0.5, 1, 10])) * (item < 2)
    return group, item, score.astype(np.float32), draw(st.sampled_from([0.02, 0.1, 0.3, 1]))


@settings(deadline=None)
@given(lists())
def test_an_item_gives_up_what_it_holds_too_much_or_pays_the_highest_price(case):
    group, item, score, share = case
    price = price_items(group, item, score, 12, share)
    assert (price >= 0).all()
    most = max(LEAST, int(share * len(np.unique(group))))
    limited = limit_first_places(group, item, score, price)
    before, after = held(group, item, score, 12), held(group, item, limited, 12)
    assert ((after <= most) | (price >= price.max())).all()
    if (before <= most).all():
        assert not price.any() and np.array_equal(score, limited)
    for user in np.unique(group):  # one goes to the first place, the others keep their order
        own = np.flatnonzero(group == user)
        old, new = (
            own[np.argsort(place_in_group(group[own], s[own], item[own]))] for s in (score, limited)
        )
        assert [row for row in old if row != new[0]] == list(new[1:])
        assert new[0] == old[0] or price[item[old[0]]] > price[item[new[0]]]


@pytest.mark.parametrize("count", [0, 1])
def test_lists_without_a_choice_have_no_price(count):
    group, item = np.zeros(count, np.int64), np.arange(count)
    assert not price_items(group, item, np.ones(count, np.float32), 3, 0.1).any()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    "Two hundred people who buy again what they like; half of them like the bestseller most."
    start = dt.datetime(2026, 2, 1)
    events = []
    for user in range(200):
        own = [f"i{(user + k) % 40:02}" for k in range(8)]
        for item in [own[0], *own, *["best"] * (3 * (user % 2))]:
            hour = start + dt.timedelta(hours=user + len(events) % 100)
            events.append(Event(f"u{user:03}", item, hour))
    root = tmp_path_factory.mktemp("shop")
    write_lake(root, [Item(i) for i in ("best", *(f"i{n:02}" for n in range(40)))], events)
    return root


def test_a_night_follows_the_limit_whatever_is_asked_of_it(shop, capsys):
    def lists_of(share, limit_users=None):
        counts = {name: 0 for name in GENERATORS if name != "repeat"}
        found = settings_for(
            shop, candidates={**counts, "exclude_seen": "none", "first_place_share": share}
        )
        assembly = Assembly(connect(), found, NIGHT)
        ranker = fuse_ranks(columns_of(GENERATORS))
        assembly.prepare(first_stage_of(ranker), limit_users)
        batches = [b for shard in range(assembly.shards) for b in assembly.batches(shard)]
        return {
            user: (list(b.candidate[s:e]), list(b.offset[s:e]))
            for b in batches
            for user, s, e in zip(
                b.user_id.to_pylist(),
                b.candidate_offsets[:-1],
                b.candidate_offsets[1:],
                strict=True,
            )
        }

    free, limited = lists_of(None), lists_of(0.1)
    firsts = [
        np.unique([c[0] for c, _ in lists.values()], return_counts=True)[1].max()
        for lists in (free, limited)
    ]
    assert firsts[0] == 100 and firsts[1] <= 20
    assert (
        "1 items that would lead more than 10.00% of the lists give way" in capsys.readouterr().out
    )
    few = lists_of(0.1, limit_users=30)
    assert len(few) == 30 and all(limited[user] == rows for user, rows in few.items())


def test_there_is_no_limit_unless_one_is_asked_for(shop, capsys):
    assembly = Assembly(connect(), settings_for(shop), NIGHT)
    past = past_of(assembly)
    offers = make_offers(past, assembly.settings.candidates.counts, "none")
    capsys.readouterr()
    assert not price_night(offers, fuse_ranks(columns_of(GENERATORS)), None).any()
    assert capsys.readouterr().out == ""
