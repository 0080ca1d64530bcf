"Rows that mean harm: each is taken or counted, and no other user's rows change."

import csv
import datetime as dt
import io
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import harm
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import stand_in
from harm import LONG, NASTY, TEXT, fuzz
from hypothesis import given
from hypothesis import strategies as st

from ccf_batch import ingest
from ccf_batch.base import console
from ccf_batch.settings import GENERATOR_NAMES

# --- ingest ------------------------------------------------------------------------------------------

CONFIG = """
domain.liked_above = 3
attributes.categorical = ["genres"]
attributes.numeric = ["price"]
ingest.interactions = "events.{kind}"
ingest.items = "items.{kind}"
ingest.separators.genres = "|"
ingest.max_rejected = 1
score.threads = 1
"""
EVENT = ("user_id", "item_id", "event_ts", "rating", "event_id")
ITEM = ("item_id", "title", "genres", "price")
GOOD_EVENTS = [
    [f"u{k % 3}", f"i{k % 4}", f"2026-05-{k + 1:02d} 10:00:00", "4", f"e{k}"] for k in range(9)
]
# more of them than bad ones: years are taken from titles where most end in one
GOOD_ITEMS = [[f"i{k}", f"Film {k} (1999)", "Drama|War", "9.5"] for k in range(6)]
TIMES = [
    "0001-01-01",
    "0000-00-00",
    "9999-12-31T23:59:59.999999-14:00",
    "10000-01-01",
    "2026-02-30",
    "2026-05-01 24:00:00",
    "2026-05-01T10:00:00+99:99",
    "2026-05-01 10:00:00+02:00",
    "infinity",
    "-infinity",
    "epoch",
    "now",
    "290309-12-22 (BC) 00:00:00",
    "1e18",
    "-1e18",
    "1777629600",
    "1777629600000",
    "2026-05-01",
]
ID = TEXT | st.sampled_from(["i0", "i1", "u9", "I0", "i0 "]) | LONG
EVENT_CELLS = st.tuples(
    ID.filter(lambda u: u not in {"u0", "u1", "u2"}),
    ID,
    st.sampled_from(TIMES) | TEXT,
    TEXT | st.sampled_from(["4", "1e308", "1e-400"]),
    TEXT.filter(lambda e: e not in {row[4] for row in GOOD_EVENTS}),
)
ITEM_CELLS = st.tuples(ID, TEXT | LONG, TEXT, TEXT | st.sampled_from(["1.5", "1e400"]))


def write_csv(file, names, rows):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([names, *rows])
    file.write_bytes(text.getvalue().encode())


def write_parquet(file, names, rows):
    columns = list(zip(*rows, strict=True))
    pq.write_table(pa.table([pa.array(c, pa.string()) for c in columns], names=list(names)), file)


WRITERS = {"csv": write_csv, "parquet": write_parquet}


def ingested(ws, kind, events, items):
    "Exit code of an ingest of these rows."
    (ws / "data").mkdir(parents=True, exist_ok=True)
    (ws / "ccf.toml").write_text(CONFIG.format(kind=kind))
    WRITERS[kind](ws / f"data/events.{kind}", EVENT, events)
    WRITERS[kind](ws / f"data/items.{kind}", ITEM, items)
    return ingest_command(ws)


def ingest_command(ws):
    argv = ["--config", str(ws / "ccf.toml"), "--source", str(ws / "data")]
    return console.main(ingest.IngestCommand, ingest.run, "ingest", argv=argv)


def table_of(ws, name):
    return ds.dataset(ws / "lake" / name, partitioning="hive").to_table().to_pylist()


def of_good_users(ws):
    rows = [r for r in table_of(ws, "interactions") if r["user_id"] in {"u0", "u1", "u2"}]
    return sorted(rows, key=lambda r: r["event_ts"])


@pytest.fixture(scope="module", params=["csv", "parquet"])
def peace(request, tmp_path_factory):
    "A kind of file, and what the good rows alone become."
    ws = tmp_path_factory.mktemp("peace")
    assert ingested(ws, request.param, GOOD_EVENTS, GOOD_ITEMS) == 0
    return request.param, of_good_users(ws), table_of(ws, "items")


@fuzz(12)
@given(
    events=st.lists(EVENT_CELLS.map(list), max_size=6),
    items=st.lists(ITEM_CELLS.map(list), max_size=4),
)
def test_every_hostile_row_is_in_the_lake_or_counted(
    peace, tmp_path_factory, capsys, events, items
):
    kind, good_events, good_items = peace
    ws = tmp_path_factory.mktemp("i")
    harm.TRIED[f"ingest: {kind} rows"] += len(events) + len(items)
    assert ingested(ws, kind, GOOD_EVENTS + events, GOOD_ITEMS + items) == 0
    out = capsys.readouterr()
    harm.assert_tame(out.out + out.err)
    assert of_good_users(ws) == good_events
    lake = {"interactions": table_of(ws, "interactions"), "items": table_of(ws, "items")}
    assert [row for row in lake["items"] if row in good_items] == good_items
    given_rows = {"interactions": GOOD_EVENTS + events, "items": GOOD_ITEMS + items}
    rejects = table_of(ws, "rejects")
    for input, rows in given_rows.items():
        out_of = {(r["file"], r["row"]) for r in rejects if r["input"] == input and not r["kept"]}
        assert len(lake[input]) + len(out_of) == len(rows), (input, rejects)
    # what was kept was kept as it was written, but for blanks around ids
    blank = " \t\r\n"
    pairs = {(u.strip(blank), i.strip(blank)) for u, i, *_ in given_rows["interactions"]}
    assert {(r["user_id"], r["item_id"]) for r in lake["interactions"]} <= pairs
    assert {r["item_id"] for r in lake["items"]} <= {
        i.strip(blank) for i, *_ in given_rows["items"]
    }


RAW = st.binary(max_size=300) | st.lists(
    st.sampled_from(
        [
            b'"',
            b",",
            b"\n",
            b"\r",
            b"\x00",
            b"\xff",
            b"u,i,",
            b"2026-05-01",
            b"\xed\xa0\x80",
            b"x" * 200_000,
        ]
        + [
            b"user_id,item_id,event_ts,rating,event_id\n",
            b"\x1f\x8b\x08\x00",
            b"PAR1",
            b"\xef\xbb\xbf",
        ]
    ),
    max_size=12,
).map(b"".join)


@fuzz(40)
@given(data=RAW, name=st.sampled_from(["events.csv", "events.csv.gz", "events.parquet"]))
def test_any_bytes_are_rows_or_refused_by_name(tmp_path_factory, capsys, data, name):
    ws = tmp_path_factory.mktemp("b")
    harm.TRIED["ingest: bytes"] += 1
    assert ingested(ws, "csv", GOOD_EVENTS, GOOD_ITEMS) == 0
    before = {p: p.read_bytes() for p in (ws / "lake").rglob("*.parquet")}
    config = (ws / "ccf.toml").read_text()
    (ws / "ccf.toml").write_text(config.replace("events.csv", name).replace("rating = 1", ""))
    (ws / "data/events.csv").unlink()
    (ws / "data" / name).write_bytes(data)
    capsys.readouterr()
    code = ingest_command(ws)
    out = capsys.readouterr()
    harm.assert_tame(out.out + out.err)
    assert code in (0, 2)
    if code:
        assert name in out.err
        assert {p: p.read_bytes() for p in (ws / "lake").rglob("*.parquet")} == before


@fuzz(12)
@given(
    names=st.lists(TEXT | st.sampled_from(["USER_ID", "Rating", "date"]), min_size=1, max_size=3)
)
def test_columns_of_any_name_are_left_alone_or_refused(peace, tmp_path_factory, capsys, names):
    kind, good_events, _ = peace
    ws = tmp_path_factory.mktemp("n")
    harm.TRIED[f"ingest: {kind} column names"] += 1
    assert ingested(ws, kind, GOOD_EVENTS, GOOD_ITEMS) == 0
    more = [[*row, *["same"] * len(names)] for row in GOOD_EVENTS]
    WRITERS[kind](ws / f"data/events.{kind}", (*EVENT, *names), more)
    capsys.readouterr()
    code = ingest_command(ws)
    out = capsys.readouterr()
    harm.assert_tame(out.out + out.err)
    assert code == 0 or (code == 2 and f"events.{kind}" in out.err), out.err
    assert of_good_users(ws) == good_events


def test_links_are_not_followed_when_a_lake_is_replaced(tmp_path):
    ws = tmp_path / "w"
    assert ingested(ws, "csv", GOOD_EVENTS, GOOD_ITEMS) == 0
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious.txt").write_text("precious")
    (ws / "lake/users").symlink_to(tmp_path / "outside")
    (ws / "lake/items/more.parquet").symlink_to(tmp_path / "outside/precious.txt")
    assert ingested(ws, "csv", GOOD_EVENTS, GOOD_ITEMS) == 0
    assert not (ws / "lake/users").exists()
    assert (tmp_path / "outside/precious.txt").read_text() == "precious"


def test_a_dead_link_among_the_candidates_is_named(tmp_path, capsys):
    ws = tmp_path / "w"
    assert ingested(ws, "csv", GOOD_EVENTS, GOOD_ITEMS) == 0
    folder = ws / "lake/candidates/date=2026-06-01"
    folder.mkdir(parents=True)
    (folder / "c.parquet").symlink_to(tmp_path / "gone.parquet")
    assert ingested(ws, "csv", GOOD_EVENTS, GOOD_ITEMS) == 2
    assert "c.parquet" in capsys.readouterr().err
    assert os.path.lexists(folder / "c.parquet")


# --- a lake that somebody wrote without ingest ----------------------------------------------------------

NIGHT = dt.date(2026, 6, 1)
MAP = pa.map_(pa.string(), pa.list_(pa.string()))
LAKE = """
domain.liked_above = 3
checks.on_failure = "warn"
score.threads = 1
score.shard_users = 4
""" + "".join(f"candidates.{name} = 0\n" for name in GENERATOR_NAMES if name != "supplied")


class Scorer(stand_in.Scorer):
    "A margin that depends on ids alone: rows of the catalogue move when items are added."

    def __init__(self, model, catalogue, token_budget, make_engine):
        self.item = np.array([stand_in.hash_of(i) for i in catalogue.item_id.to_pylist()])

    def score(self, batch):
        user = np.array([stand_in.hash_of(u) for u in batch.user_id.to_pylist()])[batch.group_of]
        margin = np.sin(user * 12.9898 + self.item[batch.candidate] * 78.233).astype(np.float32)
        c = len(margin)
        return SimpleNamespace(
            margin=margin, tokens=c, tokens_unshared=c, tokens_least=c, cold_users=0, cold_items=0
        )


def write_lake(lake):
    "Users u0 to u5 with events on items i0 to i3, and i4 to i6 supplied for each of them."
    events = {
        "user_id": [f"u{k % 6}" for k in range(24)],
        "item_id": [f"i{k % 4}" for k in range(24)],
        "rating": [4.0] * 24,
        "event_ts": pa.array([dt.datetime(2026, 5, 1 + k) for k in range(24)], pa.timestamp("us")),
    }
    items = {
        "item_id": [f"i{k}" for k in range(7)],
        "title": [f"Film {k}" for k in range(7)],
        "attributes": pa.array([[("genres", ["Drama"])]] * 7, MAP),
    }
    supplied = {
        "user_id": [f"u{k // 3}" for k in range(18)],
        "item_id": [f"i{4 + k % 3}" for k in range(18)],
        "source": ["mine"] * 18,
    }
    put(lake / "interactions/date=2026-05-01/good.parquet", events)
    put(lake / "items/good.parquet", items)
    for date in (NIGHT, "2026-05-25"):  # the latter is the day after the last event
        put(lake / f"candidates/date={date}/good.parquet", supplied)


def put(file: Path, columns):
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), file)


def score(ws, *flags):
    return stand_in.main(["--config", str(ws / "ccf.toml"), "--date", str(NIGHT), *flags])


def ranked_of_good_users(ws):
    "Their rows without the run's id, which follows from all inputs."
    table = pq.read_table(ws / f"ranked/date={NIGHT}").drop_columns(["run_id"])
    rows = sorted(table.to_pylist(), key=lambda r: (r["user_id"], r["rank"]))
    return [r for r in rows if r["user_id"] in {f"u{k}" for k in range(6)}]


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    "A workspace with a good lake, scored, and the rows of its users."
    ws = tmp_path_factory.mktemp("lake")
    write_lake(ws / "lake")
    (ws / "ccf.toml").write_text(LAKE)
    before, stand_in.Scorer = stand_in.Scorer, Scorer
    try:
        assert score(ws) == 0
        rows = ranked_of_good_users(ws)
        assert len(rows) == 18 and {r["source"] for r in rows} == {"mine"}
        shutil.rmtree(ws / "ranked")
        yield ws, rows
    finally:
        stand_in.Scorer = before


MICROS = st.sampled_from(
    [0, -1, 1, -(2**63), -(2**63) + 1, 2**63 - 1, 2**63 - 2, -62135596800000001, 253402300800000000]
) | st.integers(-(2**63), 2**63 - 1)
STRANGER = TEXT.filter(lambda u: u not in {f"u{k}" for k in range(6)}) | LONG.map(lambda s: "z" + s)


@st.composite
def hostile_events(draw):
    n = draw(st.integers(0, 5))
    rows = st.lists
    user = draw(rows(STRANGER | st.none(), min_size=n, max_size=n))
    item = draw(rows(TEXT | st.sampled_from(["i0", "i1"]) | st.none(), min_size=n, max_size=n))
    rating = draw(rows(st.floats() | st.none(), min_size=n, max_size=n))
    when = draw(rows(MICROS | st.just(1777629600000000) | st.none(), min_size=n, max_size=n))
    unit = draw(st.sampled_from(["ms", "us", "us", "us", "ns"]))
    columns = {
        "user_id": pa.array(user, pa.string()),
        "item_id": pa.array(item, pa.string()),
        "rating": pa.array(rating, pa.float64()),
        "event_ts": pa.array(when, pa.int64()).cast(pa.timestamp(unit)),
    }
    if draw(st.booleans()):
        columns["event_id"] = pa.array(draw(rows(TEXT, min_size=n, max_size=n)), pa.string())
    return columns


@st.composite
def hostile_items(draw):
    ids = draw(
        st.lists(STRANGER.filter(lambda i: i[:1] != "i") | st.none(), max_size=5, unique=True)
    )
    n = len(ids)
    values = st.lists(TEXT | st.none(), max_size=3) | st.none()
    maps = st.dictionaries(TEXT, values, max_size=2).map(lambda d: list(d.items())) | st.none()
    when = st.lists(MICROS | st.none(), min_size=n, max_size=n)
    columns = {
        "item_id": pa.array(ids, pa.string()),
        "title": pa.array(
            draw(st.lists(TEXT | LONG | st.none(), min_size=n, max_size=n)), pa.string()
        ),
        "attributes": pa.array(draw(st.lists(maps, min_size=n, max_size=n)), MAP),
    }
    if draw(st.booleans()):
        for name in ("available_from", "available_to"):
            columns[name] = pa.array(draw(when), pa.int64()).cast(pa.timestamp("us"))
    return columns


@fuzz(12)
@given(events=hostile_events(), items=hostile_items())
def test_a_hostile_lake_moves_nobody_elses_rows(
    lake, tmp_path_factory, monkeypatch, capsys, events, items
):
    good, rows = lake
    ws = shutil.copytree(good, tmp_path_factory.mktemp("s") / "w")
    monkeypatch.setattr(stand_in, "SLEEP_S", 0)
    harm.TRIED["score: rows"] += len(events["user_id"]) + len(items["item_id"])
    put(ws / "lake/interactions/date=2026-05-02/bad.parquet", events)
    put(ws / "lake/items/bad.parquet", items)
    known = set(items["item_id"].to_pylist()) | {"i0", "i1"}
    brought = {
        "user_id": ["guest", *[f"u{k % 6}" for k in range(2)]],
        "item_id": ["i0", *NASTY[2:4]],  # which the catalogue may not have
        "source": ["mine", "\x1b[2J", "'; DROP TABLE"],
    }
    if not known & set(brought["item_id"][1:]):
        put(ws / f"lake/candidates/date={NIGHT}/bad.parquet", brought)
    code = score(ws)
    out = capsys.readouterr()
    harm.assert_tame(out.out + out.err)
    if code:
        assert code == 2 and "bad.parquet" in out.err, out.err
        assert not list(ws.glob("ranked/date=*"))
    else:
        assert ranked_of_good_users(ws) == rows


def raw_text(values) -> pa.Array:
    "Bytes under the name of text, as some writers leave them."
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())


def one_event(**changed):
    event = {
        "user_id": pa.array(["mallory"]),
        "item_id": pa.array(["i0"]),
        "rating": pa.array([5.0]),
        "event_ts": pa.array([dt.datetime(2026, 5, 2)], pa.timestamp("us")),
    }
    return event | changed


def one_item(**changed):
    item = {
        "item_id": pa.array(["m"]),
        "title": pa.array(["Mine"]),
        "attributes": pa.array([[("genres", ["Drama"])]], MAP),
    }
    return item | changed


HALF = b"\xed\xa0\x80"  # a lone surrogate
FILES = {
    "half a character in an id": ("interactions/date=2026-05-02/bad.parquet", lambda: one_event(user_id=raw_text([HALF]))),
    "half a character in a title": ("items/bad.parquet", lambda: one_item(title=raw_text([HALF]))),
    "a key twice": ("items/bad.parquet", lambda: one_item(attributes=pa.array([[("a", ["x"]), ("a", ["y"])]], MAP))),
    "no list": ("items/bad.parquet", lambda: one_item(attributes=pa.array([[("a", None), ("b", [None])]], MAP))),
    "ids without a sign": ("interactions/date=2026-05-02/bad.parquet", lambda: one_event(user_id=pa.array([2**64 - 1], pa.uint64()))),
    "a date that is none": ("interactions/date=2026-02-30/bad.parquet", one_event),
    "a date of its own": ("interactions/date=2026-05-02/bad.parquet", lambda: one_event(date=pa.array(["soon"]))),
    "a column of another kind": ("interactions/date=2026-05-02/bad.parquet", lambda: one_event(note=pa.array([{"a": 1}]))),
    "a name that is a pattern": ("items/bad.parquet[1]*.parquet", one_item),
    "a name that is no text": ("items/bad.parquet\udcff.parquet", one_item),
    "a link that leads nowhere": ("items/bad.parquet", None),
    "a folder": ("items/bad.parquet", "folder"),
    "far from now": ("interactions/date=2026-05-02/bad.parquet", lambda: one_event(event_ts=pa.array([2**62]).cast(pa.timestamp("ms")))),
    "a candidate's half character": (f"candidates/date={NIGHT}/bad.parquet", lambda: {"user_id": ["u0"], "item_id": ["i4"], "source": raw_text([HALF])}),
}  # fmt: skip


@pytest.mark.parametrize("how", FILES)
@pytest.mark.parametrize("date", ["--date", None])
def test_a_file_that_no_good_writer_writes(lake, tmp_path, monkeypatch, capsys, how, date):
    "It is read, or refused by its name."
    good, rows = lake
    ws = shutil.copytree(good, tmp_path / "w")
    monkeypatch.setattr(stand_in, "SLEEP_S", 0)
    harm.TRIED["score: files"] += 1
    place, make = FILES[how]
    file = ws / "lake" / place
    file.parent.mkdir(parents=True, exist_ok=True)
    if make is None:
        file.symlink_to(tmp_path / "gone.parquet")
    elif make == "folder":
        file.mkdir()
    else:
        put(tmp_path / "made.parquet", make())
        os.replace(tmp_path / "made.parquet", file)
    settings = (ws / "ccf.toml").read_text() + 'attributes.categorical = ["genres"]\n'
    (ws / "ccf.toml").write_text(settings)
    code = score(ws) if date else stand_in.main(["--config", str(ws / "ccf.toml")])
    out = capsys.readouterr()
    harm.assert_tame(out.out + out.err)
    if code:
        assert code == 2 and "bad.parquet" in out.err, out.err
        assert not list(ws.glob("ranked/date=*"))
    elif date:
        assert ranked_of_good_users(ws) == rows


@pytest.mark.parametrize("table", ["interactions", "items"])
def test_a_file_damaged_in_the_middle_is_named(lake, tmp_path, monkeypatch, capsys, table):
    ws = shutil.copytree(lake[0], tmp_path / "w")
    file = next((ws / "lake" / table).rglob("good.parquet"))
    data = bytearray(file.read_bytes())
    data[4:200] = b"\xff" * 196
    file.write_bytes(data)
    assert score(ws) == 2
    assert "good.parquet" in capsys.readouterr().err


@pytest.mark.parametrize("date", ["0001-01-01", "0001-01-02", "9999-12-31", "1969-12-31"])
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_a_date_at_the_edge_of_time(lake, tmp_path, capsys, date, zone):
    ws = shutil.copytree(lake[0], tmp_path / "w")
    argv = ["--config", str(ws / "ccf.toml"), "--date", date]
    (ws / "ccf.toml").write_text(LAKE + f'domain.zone = "{zone}"\n')
    assert stand_in.main(argv) in (2, 3, 4) or date == "9999-12-31"
    assert date in capsys.readouterr().err or date == "9999-12-31"


def test_a_link_out_of_the_lake_is_read_and_its_target_is_part_of_the_fingerprint(lake, tmp_path):
    "Somebody's tables may lie on another disk; that what a link leads to has changed is noticed."
    good, rows = lake
    ws = shutil.copytree(good, tmp_path / "w")
    file = ws / "lake/items/good.parquet"
    shutil.move(file, tmp_path / "elsewhere.parquet")
    file.symlink_to(tmp_path / "elsewhere.parquet")
    assert score(ws) == 0 and ranked_of_good_users(ws) == rows
    os.utime(tmp_path / "elsewhere.parquet", ns=(1, 1))
    assert score(ws) == 2  # published, from something else
