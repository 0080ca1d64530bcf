"Rules against the obvious: sort, filter, cut."

import datetime as dt
import math
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lakes import DAY, START, Event, Item, prepare, settings_for, write_lake
from properties import examples

from ccf_batch.data.assemble import Assembly
from ccf_batch.data.database import connect
from ccf_batch.data.ranked import Calibration
from ccf_batch.night.rules import rank

DATE = (START + DAY).date()
ITEMS = [Item(10 * i) for i in range(6)]
SEEN = [(1, 0), (1, 3), (2, 1)]
LIKED = SEEN[:2]


def margins_of(rows, names=("a", "b", "c")):
    source = pa.array([names[i % 3] for i in range(len(rows))]).dictionary_encode()
    return pa.table(
        {
            "user_id": pa.array([u for u, _, _ in rows], pa.int64()),
            "item_row": pa.array([r for _, r, _ in rows], pa.int32()),
            "margin": pa.array([m for _, _, m in rows], pa.float32()),
            "source": source,
        }
    )


def night(root, **groups):
    write_lake(
        root, ITEMS, [Event(u, 10 * i, START, 5.0 if (u, i) in LIKED else 1.0) for u, i in SEEN]
    )
    assembly = Assembly(connect(threads=1), settings_for(root, **groups), DATE)
    prepare(assembly)
    return assembly


def ranked(assembly, rows):
    return rank(assembly.con, margins_of(rows), assembly, assembly.settings, Calibration(1.0, 0.0))


@examples(25)
@given(
    margins=st.dictionaries(
        st.tuples(st.sampled_from([1, 2]), st.integers(0, 5)),
        st.sampled_from([float("nan"), -900.0, -1.0, 0.0, 1.0, 17.0, 900.0]),
    ),
    apply=st.lists(st.sampled_from(["not_seen", "available", "top_k"]), unique=True),
    gone=st.sets(st.integers(0, 5), max_size=5),
    exclude=st.sampled_from(["all", "liked", "none"]),
    top_k=st.integers(1, 4),
)
def test_rules_in_order(tmp_path_factory, margins, apply, gone, exclude, top_k):
    root = tmp_path_factory.mktemp("night")
    assembly = night(
        root,
        rules={"apply": apply},
        candidates={"exclude_seen": exclude},
        domain={"liked_above": 3},
        top_k=top_k,
    )
    # the catalogue changes after the candidates were made
    left = [Item(10 * i, until=START + DAY if i in gone else None) for i in range(6)]
    write_lake(
        root, left, [Event(u, 10 * i, START, 5.0 if (u, i) in LIKED else 1.0) for u, i in SEEN]
    )
    rows = [(u, r, m) for (u, r), m in margins.items()]
    table, removed = ranked(assembly, rows)

    def best(kept, k=None):
        out = []
        for user in (1, 2):
            out += sorted((x for x in kept if x[0] == user), key=lambda x: (-x[2], x[1]))[:k]
        return out

    kept = [x for x in rows if not math.isnan(x[2])]
    expected = Counter({"no_margin": len(rows) - len(kept)})
    for rule in apply:
        before = len(kept)
        if rule == "not_seen":
            hidden = {"all": SEEN, "liked": LIKED, "none": []}[exclude]
            kept = [x for x in kept if x[:2] not in hidden]
        elif rule == "available":
            kept = [x for x in kept if x[1] not in gone]
        else:
            kept = best(kept, top_k)
        expected[rule] = before - len(kept)
    assert removed == dict(expected)
    kept = best(kept)
    assert table["user_id"].to_pylist() == [u for u, _, _ in kept]
    assert table["item_id"].to_pylist() == [10 * r for _, r, _ in kept]
    assert table["margin"].to_pylist() == [m for *_, m in kept]
    places = Counter()
    for row in table.to_pylist():
        places[row["user_id"]] += 1
        assert row["rank"] == places[row["user_id"]]  # dense, from 1
        assert row["score"] == pytest.approx(1 / (1 + math.exp(min(700, -row["margin"]))), abs=1e-7)
        assert row["reason"] == "scored"


def test_the_columns(tmp_path):
    table, _ = ranked(night(tmp_path), [(2, 5, 0.5), (2, 4, 0.5), (1, 2, -3.0)])
    assert table.schema.equals(
        pa.schema(
            {
                "user_id": pa.int64(),
                "item_id": pa.int64(),
                "rank": pa.int32(),
                "score": pa.float32(),
                "margin": pa.float32(),
                "source": pa.string(),
                "reason": pa.string(),
            }
        )
    )
    assert table["item_id"].to_pylist() == [20, 40, 50]
    assert table["source"].to_pylist() == ["c", "b", "a"]


@pytest.mark.parametrize("order", [1, -1])
def test_ties_at_the_cut_go_to_the_smaller_item_id(tmp_path, order):
    rows = [
        (user, item, 1.0 if (user, item) == (1, 5) else 0.5) for user in (1, 2) for item in range(6)
    ]
    table, removed = ranked(night(tmp_path, rules={"apply": ["top_k"]}, top_k=3), rows[::order])
    assert table["item_id"].to_pylist() == [50, 0, 10, 0, 10, 20]
    assert removed == {"no_margin": 0, "top_k": 6}


def test_ranking_works_on_a_cursor_and_leaves_nothing_behind(tmp_path):
    assembly = night(tmp_path)
    cursor = assembly.con.cursor()
    for _ in range(2):
        table, _ = rank(
            cursor, margins_of([(2, 4, 1.0)]), assembly, assembly.settings, Calibration(1.0, 0.0)
        )
        assert len(table) == 1
    assert not cursor.execute("SELECT * FROM duckdb_views() WHERE view_name = 'margins'").fetchall()


def test_string_ids(tmp_path):
    prank = "x'); DROP TABLE scored;--\n☃"
    write_lake(tmp_path, [Item(prank), Item("b")], [Event(prank, "b", START, 5.0)])
    assembly = Assembly(connect(), settings_for(tmp_path), DATE)
    prepare(assembly)
    table = pa.table(
        {
            "user_id": [prank] * 2,
            "item_row": pa.array([0, 1], pa.int32()),
            "margin": pa.array([1, 1], pa.float32()),
            "source": ["popular"] * 2,
        }
    )
    rows, removed = rank(assembly.con, table, assembly, assembly.settings, Calibration(1.0, 0.0))
    assert rows["item_id"].to_pylist() == [prank] and removed["not_seen"] == 1
    assert assembly.date == dt.date(2026, 3, 2)
