"From somebody's files to the lake: formats, and every kind of bad input, each with its row accounted for."

import csv
import datetime as dt
import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from files_of_users import attributes, exit_code, put, rejects, rows, run
from hypothesis import example, given
from hypothesis import strategies as st
from properties import examples

from ccf_batch import ingest
from ccf_batch.base import console
from ccf_batch.base.errors import InputError
from ccf_batch.base.settings_file import load
from ccf_batch.data import lake

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MAPPED = """
[ingest]
interactions = "events.csv"
items = "items.csv"
max_rejected = 0.9
"""


@pytest.fixture
def work(tmp_path):
    "A workspace and, in it, an empty folder `data` for somebody's files."
    (tmp_path / "data").mkdir()
    return tmp_path


EVENTS = "user_id,item_id,event_ts\nann,a,2026-05-01 10:00:00\nbob,b,2026-05-02 10:00:00\n"
ITEMS = "item_id,title\na,Heat\nb,Ran\n"


# --- known data sets -------------------------------------------------------------------------------


def test_movielens_1m(work):
    put(
        work,
        ratings_dat="1::10::5::978300760\n1::11::3::978300761\n2::10::1::978300762\n",
        movies_dat='10::Amélie "la" (2001)::Comedy|Romance\n11::Ran (1985)::Drama\n'.encode(
            "latin-1"
        ),
        users_dat="1::F::1::10::48067\n2::M::56::16::70072\n",
    )
    found = run(work)
    assert (found["events"], found["users"], found["items"]) == (3, 2, 2)
    event = rows(work, "interactions")[0]
    assert (event["user_id"], event["item_id"], event["rating"]) == (1, 10, 5.0)
    assert event["event_ts"] == dt.datetime(2000, 12, 31, 22, 12, 40)
    film = rows(work, "items")[0]
    assert film["title"] == 'Amélie "la" (2001)'
    assert attributes(film) == {"genres": ["Comedy", "Romance"], "year": ["2001"]}
    assert attributes(rows(work, "users")[0])["gender"] == ["F"]
    # a first settings file that the next commands can use
    settings = load(config=work / "ccf.toml")
    assert (settings.domain.noun, settings.domain.liked_above) == ("movies", 3)
    assert settings.attributes.categorical == ["genres"]
    lake.check(settings)


def test_movielens_1m_converted_to_utf8(work):
    put(work, ratings_dat="1::10::5::978300760\n", movies_dat="10::Amélie (2001)::Comedy\n")
    run(work)
    assert rows(work, "items")[0]["title"] == "Amélie (2001)"


def test_movielens_100k_of_grouplens(work):
    flags = ["0"] * 19
    flags[5] = flags[16] = "1"
    film = "1|Café (1995)|01-Jan-1995||http://x|" + "|".join(flags) + "\n"
    put(
        work,
        u_data="1\t1\t4\t881250949\n2\t1\t2\t881250950\n",
        u_item=film.encode("latin-1"),
        u_user="1|24|M|technician|85711\n2|53|F|other|94043\n",
    )
    run(work)
    assert [e["rating"] for e in rows(work, "interactions")] == [4, 2]
    film = rows(work, "items")[0]
    assert film["title"] == "Café (1995)"
    assert attributes(film) == {"genres": ["Comedy", "Thriller"], "year": ["1995"]}
    assert attributes(rows(work, "users")[1])["occupation"] == ["other"]


def test_movielens_csv(work):
    put(
        work,
        ratings_csv="userId,movieId,rating,timestamp\n1,10,4.5,978300760\n",
        movies_csv='movieId,title,genres\n10,"Good, Bad ""x"" (1966)",Western|Drama\n'
        "11,Nothing (2000),(no genres listed)\n",
    )
    run(work)
    films = rows(work, "items", ["item_id"])
    assert films[0]["title"] == 'Good, Bad "x" (1966)'
    assert attributes(films[0]) == {"genres": ["Western", "Drama"], "year": ["1966"]}
    assert attributes(films[1]) == {"year": ["2000"]}


def test_atomic_files(work):
    (work / "data" / "shop.inter").write_text(
        "user_id:token\titem_id:token\ttimestamp:float\nu1\tx\t978300760.0\n"
    )
    (work / "data" / "shop.item").write_text(
        'item_id:token\ttitle:token_seq\tclass:token_seq\tprice:float\nx\tA "b" c\tred big red\t2.5\n'
    )
    run(work)
    item = rows(work, "items")[0]
    assert item["title"] == 'A "b" c'
    assert attributes(item) == {"genres": ["red", "big"], "price": ["2.5"]}
    assert "rating" not in rows(work, "interactions")[0]
    settings = load(config=work / "ccf.toml")
    assert settings.attributes.numeric == ["price"] and settings.domain.liked_above is None


def papers_split(folder, title="Ran (1985)"):
    for split, when, history in (("train", 1, [0]), ("valid", 2, [0, 7]), ("test", 3, [0, 7, 8])):
        pq.write_table(
            pa.table(
                {
                    "user_id": pa.array([1, 2], pa.int32()),
                    "item_id": pa.array([7, 8], pa.int32()),
                    "label": pa.array([1, 0], pa.int8()),
                    "timestamp": [978300000 + when] * 2,
                    "history": pa.array([history] * 2, pa.list_(pa.int32())),
                    "title": [title, "Heat (1995)"],
                    "not_cold": pa.array([1, 0], pa.int8()),
                }
            ),
            folder / f"{split}.parquet",
        )


def test_papers_split_keeps_labels_and_histories(work):
    papers_split(work / "data")
    (work / "meta").mkdir()
    (work / "meta" / "movies.dat").write_text("1::Ran (1985)::Drama|War\n")
    found = run(work, "--meta", str(work / "meta"))
    assert (found["events"], found["items"]) == (6, 2)
    examples = {(e["split"], e["item_id"]): e for e in rows(work, "examples")}
    assert examples["test", 7]["history"] == [7, 8] and examples["train", 7]["history"] == []
    assert [examples["valid", i]["label"] for i in (7, 8)] == [1, 0]
    assert examples["valid", 8]["not_cold"] == 0
    assert examples["valid", 8]["event_ts"] == dt.datetime(2000, 12, 31, 22, 0, 2)
    films = rows(work, "items", ["item_id"])
    assert attributes(films[0]) == {"genres": ["Drama", "War"], "year": ["1985"]}
    assert attributes(films[1]) == {"year": ["1995"]}
    (unmatched,) = rejects(work)
    assert unmatched["value"] == "Heat (1995)" and unmatched["kept"]
    assert load(config=work / "ccf.toml").attributes.categorical == ["genres"]


def test_papers_split_without_meta_has_no_genres(work):
    papers_split(work / "data")
    run(work)
    assert attributes(rows(work, "items", ["item_id"])[0]) == {"year": ["1985"]}
    assert load(config=work / "ccf.toml").attributes.categorical == []


# --- somebody's own columns -------------------------------------------------------------------------


def test_mapped_csv(work):
    put(
        work,
        events_csv="who;sku;stars;at\n007;x;4,5;2026-05-01\n".replace("4,5", "4.5"),
        items_csv="id|name|tags|cost|from\nx|Lamp|a, b,,a|12.5|2026-01-01\n",
    )
    toml = """
[domain]
liked_above = 3
[attributes]
categorical = ["tags"]
numeric = ["price"]
[ingest]
interactions = "events.csv"
items = "items.csv"
separators = { tags = "," }
[ingest.columns]
user_id = "who"
"interactions.item_id" = "sku"
"items.item_id" = "id"
rating = "stars"
event_ts = "at"
title = "name"
price = "cost"
available_from = "from"
"""
    run(work, toml=toml)
    (event,) = rows(work, "interactions")
    assert (event["user_id"], event["item_id"], event["rating"]) == ("007", "x", 4.5)
    (item,) = rows(work, "items")
    assert attributes(item) == {"tags": ["a", "b"], "price": ["12.5"]}
    assert item["available_from"] == dt.datetime(2026, 1, 1)
    assert (work / "ccf.toml").read_text() == toml  # somebody's own file is left alone


def test_mapped_parquet_with_lists_and_globs(work):
    for n, user in enumerate(["x", "y"]):
        event = {
            "user_id": [user],
            "item_id": [5],
            "event_ts": pa.array(
                [dt.datetime(2026, 5, 1, 12, 0, 0, 123456)], pa.timestamp("us", "UTC")
            ),
            "ingested_ts": [dt.datetime(2026, 5, 2)],
            "label": [bool(n)],
        }
        pq.write_table(pa.table(event), work / "data" / f"part-{n}.parquet")
    item = {"item_id": [5], "title": ["T"], "tags": [["a", None, " b "]], "n": [3]}
    pq.write_table(pa.table(item), work / "data" / "things.parquet")
    toml = """
[attributes]
categorical = ["tags"]
numeric = ["n"]
[ingest]
interactions = "part-*.parquet"
items = "things.parquet"
"""
    run(work, toml=toml)
    events = rows(work, "interactions")
    assert [(e["user_id"], e["item_id"], e["label"]) for e in events] == [("x", 5, 0), ("y", 5, 1)]
    assert events[0]["event_ts"] == dt.datetime(2026, 5, 1, 12, 0, 0, 123456)
    assert events[0]["ingested_ts"] == dt.datetime(2026, 5, 2)
    assert attributes(rows(work, "items")[0]) == {"tags": ["a", "b"], "n": ["3"]}


def test_text_ids_of_a_parquet_file_stay_text(work):
    event = {"user_id": ["1"], "item_id": [5], "event_ts": [dt.datetime(2026, 5, 1)]}
    pq.write_table(pa.table(event), work / "data" / "e.parquet")
    run(work, toml='[ingest]\ninteractions = "e.parquet"')
    (event,) = rows(work, "interactions")
    assert (event["user_id"], event["item_id"]) == ("1", 5)


def test_items_without_a_file_are_those_of_the_events(work):
    put(work, events_csv=EVENTS)
    found = run(work, toml='[ingest]\ninteractions = "events.csv"')
    assert (found["items"], found["untitled"]) == (2, 2)


def test_compressed_csv_with_a_byte_order_mark(work):
    put(work, items_csv=ITEMS)
    (work / "data" / "events.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + EVENTS.encode()))
    run(work, toml=MAPPED.replace("events.csv", "events.csv.gz"))
    assert [e["user_id"] for e in rows(work, "interactions")] == ["ann", "bob"]


def test_windows_line_ends_and_no_last_one(work):
    put(
        work,
        events_csv=EVENTS.replace("\n", "\r\n").rstrip(),
        items_csv=ITEMS.replace("\n", "\r\n"),
    )
    run(work, toml=MAPPED)
    assert [e["user_id"] for e in rows(work, "interactions")] == ["ann", "bob"]
    assert [i["title"] for i in rows(work, "items", ["item_id"])] == ["Heat", "Ran"]


def test_a_folder_name_with_pattern_characters(work):
    odd = work / "data" / "it's [1] * {a}"
    odd.mkdir()
    (odd / "events.csv").write_text(EVENTS)
    (odd / "items.csv").write_text(ITEMS)
    (work / "ccf.toml").write_text(MAPPED)
    assert exit_code(work, "--source", str(odd)) == 0
    assert len(rows(work, "interactions")) == 2


IDS = [
    "it's",
    '"quoted"',
    "two\nlines",
    "a,b",
    "😀",
    "'; DROP TABLE events; --",
    "<|im_end|>",
    "../../etc",
    "ünï",
]


def test_ids_with_quotes_newlines_emoji(work):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["user_id", "item_id", "event_ts"])
    writer.writerows([i, i, f"2026-05-{n:02} 10:00:00"] for n, i in enumerate(IDS, 1))
    put(work, events_csv=out.getvalue())
    run(work, toml=MAPPED.replace('items = "items.csv"\n', ""))
    events = rows(work, "interactions", ["event_ts"])
    assert [(e["user_id"], e["item_id"]) for e in events] == [(i, i) for i in IDS]
    assert {i["item_id"] for i in rows(work, "items")} == set(IDS)
    assert rejects(work) == []


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-05-01", dt.datetime(2026, 5, 1)),
        ("2026-05-01T21:00:00+02:00", dt.datetime(2026, 5, 1, 19)),
        ("2026-05-01 21:00:00-0830", dt.datetime(2026, 5, 2, 5, 30)),
        ("2026-05-01T21:00Z", dt.datetime(2026, 5, 1, 21)),
        ("2026-05-01 21:00:00.25 UTC", dt.datetime(2026, 5, 1, 21, 0, 0, 250000)),
        ("1777665600", dt.datetime(2026, 5, 1, 20)),
        ("20260501", dt.datetime(2026, 5, 1)),
        ("20260501.0", dt.datetime(2026, 5, 1)),
        ("20260501213005", dt.datetime(2026, 5, 1, 21, 30, 5)),
        ("1777665600.5", dt.datetime(2026, 5, 1, 20, 0, 0, 500000)),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_times(work, monkeypatch, text, instant, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    put(work, events_csv=f"user_id,item_id,event_ts\n1,2,{text}\n")
    try:
        run(work, toml=MAPPED.replace('items = "items.csv"\n', ""))
    finally:
        monkeypatch.undo()
        time.tzset()
    (event,) = rows(work, "interactions")
    assert event["event_ts"] == instant
    assert str(event["date"]) == f"{instant:%Y-%m-%d}"


def test_time_in_milliseconds_where_the_settings_say_so(work):
    put(work, events_csv="user_id,item_id,event_ts\n1,2,1777665600123\n")
    run(work, "--ingest.time-unit", "ms", toml=MAPPED.replace('items = "items.csv"\n', ""))
    assert rows(work, "interactions")[0]["event_ts"] == dt.datetime(2026, 5, 1, 20, 0, 0, 123000)


# --- bad rows: each is counted and shown with file, row, field, value, reason -------------------------

FUTURE = f"{dt.datetime.now(dt.UTC) + dt.timedelta(days=2):%Y-%m-%d %H:%M:%S}"


@pytest.mark.parametrize(
    ("header", "bad", "field", "value", "reason"),
    [
        ("", ",a,2026-05-01", "user_id", None, "is empty"),
        ("", "  ,a,2026-05-01", "user_id", "  ", "is empty"),
        ("", "cy,,2026-05-01", "item_id", None, "is empty"),
        ("", "cy,a,", "event_ts", None, "is empty"),
        ("", "cy,a,yesterday", "event_ts", "yesterday", "is no timestamp"),
        ("", "cy,a,2026-02-30", "event_ts", "2026-02-30", "is no timestamp"),
        ("", "cy,a,2026-05-01 10:00:00 Europe/Paris", "event_ts", None, "is no timestamp"),
        ("", "cy,a,05/01/2026", "event_ts", "05/01/2026", "is no timestamp"),
        ("", "cy,a,nan", "event_ts", "nan", "is no timestamp"),
        ("", "cy,a,infinity", "event_ts", "infinity", "is no timestamp"),
        ("", "cy,a,1777665600000", "event_ts", "1777665600000", "looks like milliseconds"),
        ("", "cy,a,1777665600000000", "event_ts", None, "looks like microseconds"),
        ("", "cy,a,20261301", "event_ts", "20261301", "looks like a date without dashes"),
        ("", "cy,a,1777665600000000000", "event_ts", None, "looks like nanoseconds"),
        (
            "",
            "cy,a,46143.5",
            "event_ts",
            "46143.5",
            "looks like the number of a day in a spreadsheet",
        ),
        ("", "cy,a,2026", "event_ts", "2026", "looks like a year"),
        ("", "cy,a,17", "event_ts", "17", "is too small a number for a time"),
        ("", "cy,a,0", "event_ts", "0", "is not after 1970"),
        ("", "cy,a,-1", "event_ts", "-1", "is not after 1970"),
        pytest.param(
            *("", f"cy,a,{FUTURE}", "event_ts", FUTURE, "lies in the future"),
            id="the day after tomorrow",  # the same name in every process
        ),
        ("", "cy,zzz,2026-05-01", "item_id", "zzz", "is in no row of items"),
        ("", "cy,a", "event_ts", "cy,a", "row has too few columns"),
        ("", "cy,a,2026-05-01,4", None, "cy,a,2026-05-01,4", "row has too many columns"),
        ("", 'cy,"a,2026-05-01', "item_id", None, "row has a quote that is not closed"),
        ("", b"cy,caf\xe9,2026-05-01", "item_id", None, "row is not UTF-8"),
        (
            "",
            "ann,a,2026-05-01 10:00:00",
            "user, item, time",
            "ann, a, 2026-05-01 10:00:00",
            "is repeated",
        ),
        (",rating", "cy,a,2026-05-01,", "rating", None, "is empty"),
        (",rating", "cy,a,2026-05-01,good", "rating", "good", "is no number"),
        (",rating", "cy,a,2026-05-01,nan", "rating", "nan", "is no number"),
        (",label", "cy,a,2026-05-01,2", "label", "2", "is neither 0 nor 1"),
        (",label", "cy,a,2026-05-01,0.6", "label", "0.6", "is neither 0 nor 1"),
        (",ingested_ts", "cy,a,2026-05-01,soon", "ingested_ts", "soon", "is no timestamp"),
        (",event_id", "ann,a,2026-05-01 10:00:00,e1", "event_id", "e1", "is repeated"),
    ],
)
def test_a_bad_row_is_rejected_with_its_place(work, header, bad, field, value, reason):
    extra = {
        "": ["", ""],
        ",rating": [",4", ",5"],
        ",label": [",1", ",0"],
        ",event_id": [",e1", ",e2"],
    }
    one, two = extra.get(header, [",2026-05-03", ",2026-05-03"])
    lines = EVENTS.splitlines()
    bad = bad.encode() if isinstance(bad, str) else bad
    good = [lines[0] + header, lines[1] + one, lines[2] + two]
    content = "\n".join(good).encode() + b"\n" + bad + b"\n"
    put(work, events_csv=content, items_csv=ITEMS)
    found = run(
        work, toml=MAPPED + "[domain]\n" + ("liked_above = 3\n" if header == ",rating" else "")
    )
    assert found["events"] == 2
    (reject,) = rejects(work)
    assert (reject["input"], reject["file"], reject["row"]) == ("interactions", "events.csv", 4)
    assert not reject["kept"] and reject["reason"].startswith(reason)
    assert reject["field"] == field
    if value is not None:
        assert reject["value"] == value


@pytest.mark.parametrize(
    ("bad", "field", "reason", "kept"),
    [
        ("c,", "title", "is empty", True),
        ("c,  ", "title", "is empty", True),
        (",Lost", "item_id", "is empty", False),
        ("a,Heat", "item_id", "is repeated", False),
        ("a,Heat again", "item_id", "another row of it says otherwise", False),
        ("c", "title", "row has too few columns", False),
        ("c,Lamp,extra", None, "row has too many columns", False),
    ],
)
def test_a_bad_item(work, bad, field, reason, kept):
    put(work, events_csv=EVENTS, items_csv=ITEMS + bad + "\n")
    run(work, toml=MAPPED)
    (reject,) = rejects(work)
    assert (reject["input"], reject["file"], reject["row"]) == ("items", "items.csv", 4)
    assert (reject["field"], reject["kept"]) == (field, kept)
    assert reject["reason"].startswith(reason)
    titles = {i["item_id"]: i["title"] for i in rows(work, "items")}
    assert titles == {"a": "Heat", "b": "Ran"} | ({"c": None} if kept else {})


def test_a_bad_value_of_an_item_is_left_out_and_told(work):
    put(
        work,
        events_csv=EVENTS,
        items_csv="item_id,title,price,available_from\na,Heat,cheap,soon\nb,Ran,3,2026-01-01\n",
    )
    run(work, toml=MAPPED + '[attributes]\nnumeric = ["price"]\n')
    assert {(r["row"], r["field"], r["value"], r["kept"]) for r in rejects(work)} == {
        (2, "price", "cheap", True),
        (2, "available_from", "soon", True),
    }
    first, second = rows(work, "items", ["item_id"])
    assert (attributes(first), first["available_from"]) == ({}, None)
    assert (attributes(second), second["available_from"]) == (
        {"price": ["3"]},
        dt.datetime(2026, 1, 1),
    )


def test_ids_of_known_data_sets_are_whole_numbers(work):
    put(
        work,
        ratings_csv="userId,movieId,rating,timestamp\n1,10,4,978300760\n1.5,10,4,978300761\n1,x,4,978300762\n",
        movies_csv="movieId,title,genres\n10,Heat,Drama\n",
    )
    run(work, "--ingest.max-rejected", "0.9")
    assert [(r["row"], r["field"], r["reason"]) for r in rejects(work)] == [
        (3, "userId", "is no whole number"),
        (4, "movieId", "is no whole number"),
    ]
    assert rows(work, "interactions")[0]["user_id"] == 1


def test_a_row_of_parquet_is_numbered_too(work):
    event = {
        "user_id": [1, None, 3],
        "item_id": [5, 5, 5],
        "event_ts": [dt.datetime(2026, 5, 1)] * 2 + [dt.datetime(2999, 1, 1)],
    }
    pq.write_table(pa.table(event), work / "data" / "e.parquet")
    run(work, toml='[ingest]\ninteractions = "e.parquet"\nmax_rejected = 0.9')
    assert [(r["file"], r["row"], r["field"]) for r in rejects(work)] == [
        ("e.parquet", 2, "user_id"),
        ("e.parquet", 3, "event_ts"),
    ]


def test_control_characters_of_a_value_do_not_reach_the_terminal(work, capsys):
    put(work, events_csv=EVENTS + "cy,\x1b[31mred,2026-05-01\n", items_csv=ITEMS)
    run(work, toml=MAPPED)
    out = capsys.readouterr().out
    assert "\x1b[31m" not in out and "\\x1b[31mred" in out


CELL = st.sampled_from(
    ["", "a", "b", "zzz", "two\nlines", 'q"', "2026-05-01", "2026-05-02 10:00:00", "soon"]
)


@examples(25)
@given(records=st.lists(st.lists(CELL, min_size=1, max_size=5), min_size=0, max_size=12))
@example(records=[["a", "a", "2026-05-01", ""], ["b", "a", "2026-05-01", "", "b"]])
def test_every_row_is_in_the_lake_or_among_the_rejects_at_its_place(
    work, tmp_path_factory, records
):
    work = tmp_path_factory.mktemp("p")
    (work / "data").mkdir()
    good = ["ann", "a", "2026-04-30"]  # so that something is left
    records = [good, *records]
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        [["user_id", "item_id", "event_ts"], *records]
    )
    put(
        work,
        events_csv=out.getvalue(),
        items_csv='item_id,title\na,A\nb,B\n"two\nlines",C\n"q""",D\n',
    )
    run(work, "--ingest.max-rejected", "1", toml=MAPPED)
    expected_good, expected_bad, seen = [], [], set()
    for row, record in enumerate(records, 2):
        while len(record) > 3 and not record[-1]:  # empty cells behind the last column say nothing
            record = record[:-1]
        known = len(record) == 3 and record[0] and record[1] in {"a", "b", "two\nlines", 'q"'}
        if known and record[2].startswith("2026") and tuple(record) not in seen:
            seen.add(tuple(record))
            expected_good.append(tuple(record[:2]))
        else:
            expected_bad.append(row)
    assert sorted((e["user_id"], e["item_id"]) for e in rows(work, "interactions")) == sorted(
        expected_good
    )
    assert [r["row"] for r in rejects(work)] == expected_bad


# --- files that cannot be read at all: one line that says what to do -----------------------------------


@pytest.mark.parametrize(
    ("files", "toml", "words"),
    [
        ({}, "", ["no data set that is known here", "[ingest]", "examples/"]),
        ({"movies_dat": "1::Ran::Drama\n"}, "", ["has movies.dat, but no ratings.dat"]),
        ({"u_data": "1\t1\t4\t881250949\n"}, "", ["has u.data, but no u.item"]),
        (
            {"items_csv": ITEMS},
            MAPPED,
            ["events.csv: no such file", "ingest.interactions", "items.csv"],
        ),
        ({"events_csv": EVENTS}, MAPPED, ["items.csv: no such file", "ingest.items"]),
        (
            {"events_csv": EVENTS.replace("event_ts", "when"), "items_csv": ITEMS},
            MAPPED,
            [
                "events.csv: has no column 'event_ts'",
                "it has user_id, item_id, when",
                "[ingest.columns]",
            ],
        ),
        (
            {"events_csv": EVENTS, "items_csv": ITEMS.replace("title", "name")},
            MAPPED,
            ["items.csv: has no column 'title'"],
        ),
        (
            {"events_csv": EVENTS, "items_csv": ITEMS},
            MAPPED + '[attributes]\ncategorical = ["genres"]',
            ["items.csv: has no column 'genres'"],
        ),
        (
            {"events_csv": EVENTS, "items_csv": ITEMS},
            MAPPED + 'columns = { rating = "stars" }',
            ["events.csv: has no column 'stars'", "rating"],
        ),
        ({"events_csv": "", "items_csv": ITEMS}, MAPPED, ["events.csv", "empty"]),
        (
            {"events_csv": "user_id,item_id,event_ts\n", "items_csv": ITEMS},
            MAPPED,
            ["has no row", "events.csv"],
        ),
        (
            {"events_csv": EVENTS, "items_csv": "item_id,title\n"},
            MAPPED,
            ["has no row", "items.csv"],
        ),
        (
            {"events_csv": EVENTS.encode("utf-16"), "items_csv": ITEMS},
            MAPPED,
            ["events.csv: is UTF-16", "iconv"],
        ),
        (
            {"events_csv": b"user_id,item_id,event_ts,caf\xe9\n", "items_csv": ITEMS},
            MAPPED,
            ["events.csv: row 1 is not UTF-8", "iconv"],
        ),
        (
            {"events_csv": EVENTS.replace("item_id", "USER_ID"), "items_csv": ITEMS},
            MAPPED,
            ["events.csv"],
        ),
        (
            {
                "events_csv": EVENTS.replace("\n", ",1\n").replace("ts,1", "ts,rating"),
                "items_csv": ITEMS,
            },
            MAPPED,
            ["rating", "domain.liked_above is not set"],
        ),
        (
            {"events_parquet": b"PAR1 not really PAR1", "items_csv": ITEMS},
            MAPPED.replace("events.csv", "events.parquet"),
            ["events.parquet: is no readable Parquet file"],
        ),
    ],
)
def test_what_cannot_be_read_is_said_in_plain_words(work, capsys, files, toml, words):
    put(work, **files)
    (work / "ccf.toml").write_text(toml)
    assert exit_code(work, "--source", str(work / "data")) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message and ".lake.ingest" not in message
    for word in words:
        assert word in message
    assert not (work / "lake").exists()


def test_source_or_sample(work, capsys):
    assert exit_code(work) == 2
    assert "--source FOLDER" in capsys.readouterr().err
    assert exit_code(work, "--source", str(work / "nowhere")) == 2
    assert "nowhere: is no folder" in capsys.readouterr().err


def test_meta_is_for_the_papers_split_alone(work):
    put(work, ratings_csv="userId,movieId,rating,timestamp\n", movies_csv="movieId,title,genres\n")
    with pytest.raises(InputError, match="is for MovieLens-1M as the papers split it"):
        run(work, "--meta", str(work))
    for file in (work / "data").iterdir():
        file.unlink()
    papers_split(work / "data")
    with pytest.raises(InputError, match=r"movies\.dat: no such file"):
        run(work, "--meta", str(work))


def test_a_parquet_file_that_breaks_off(work):
    event = {
        "user_id": list(range(50_000)),
        "item_id": [5] * 50_000,
        "event_ts": [dt.datetime(2026, 5, 1)] * 50_000,
    }
    file = work / "data" / "e.parquet"
    pq.write_table(pa.table(event), file, compression="zstd", use_dictionary=False)
    data = bytearray(file.read_bytes())
    data[4:200] = b"\xff" * 196
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"e\.parquet: cannot be read"):
        run(work, toml='[ingest]\ninteractions = "e.parquet"')


# --- the lake is the old one or the new one ------------------------------------------------------------


def state(folder):
    "Hash of every file below a folder, but not of a lock."
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


def test_too_many_rejects_leave_the_lake_as_it_was(work, capsys):
    put(work, events_csv=EVENTS, items_csv=ITEMS)
    run(work, toml=MAPPED)
    before = state(work / "lake")
    put(work, events_csv=EVENTS + "cy,a,1777665600000\n" * 3)
    code = exit_code(work, "--source", str(work / "data"), "--ingest.max-rejected", "0.5")
    message = capsys.readouterr().err
    assert code == 2 and state(work / "lake") == before
    assert (
        "3 of 5 rows of interactions are rejected" in message
        and "ingest.max_rejected = 0.5" in message
    )
    assert "looks like milliseconds" in message and "events.csv, row 4, '1777665600000'" in message
    assert len(rejects(work, "lake.rejects")) == 3
    # the share is allowed: now the lake is written, and the rejects of the failure go
    assert exit_code(work, "--source", str(work / "data"), "--ingest.max-rejected", "0.6") == 0
    assert not (work / "lake.rejects").exists() and len(rejects(work)) == 3


def test_nothing_left_is_an_error_whatever_is_allowed(work):
    put(work, events_csv="user_id,item_id,event_ts\ncy,a,soon\n", items_csv=ITEMS)
    with pytest.raises(InputError, match="1 of 1 rows of interactions are rejected"):
        run(work, "--ingest.max-rejected", "1", toml=MAPPED)


def test_again_gives_the_same_bytes_and_replaces_what_was_there(work):
    put(work, events_csv=EVENTS, items_csv=ITEMS)
    run(work, toml=MAPPED)
    first = state(work / "lake")
    run(work)
    assert state(work / "lake") == first
    put(work, events_csv=EVENTS.replace("2026-05-02", "2026-06-02"))
    run(work)
    assert "interactions/date=2026-05-02/data_0.parquet" in first
    assert [str(e["date"]) for e in rows(work, "interactions")] == ["2026-05-01", "2026-06-02"]
    left = {p.name for p in work.iterdir()}
    assert left == {"data", "ccf.toml", "lake", ".lake.lock"}


def test_candidates_that_somebody_brought_stay(work):
    put(work, events_csv=EVENTS, items_csv=ITEMS)
    run(work, toml=MAPPED)
    mine = work / "lake" / "candidates" / "date=2026-05-03" / "mine.parquet"
    mine.parent.mkdir(parents=True)
    pq.write_table(pa.table({"user_id": ["ann"], "item_id": ["b"], "source": ["mine"]}), mine)
    run(work)
    assert pq.read_table(mine).num_rows == 1


def test_one_ingest_at_a_time(work):
    put(work, events_csv=EVENTS, items_csv=ITEMS)
    with ingest.atomic.lock(work / ".lake.lock", "an ingest"):
        with pytest.raises(InputError, match="an ingest is under way"):
            run(work, toml=MAPPED)


def test_flags_go_into_the_first_settings_file(work):
    put(work, ratings_dat="1::10::5::978300760\n", movies_dat="10::Ran::Drama\n")
    run(work, "--domain.noun", 'fil"ms', "--domain.liked-above", "4")
    settings = load(config=work / "ccf.toml")
    assert (settings.domain.noun, settings.domain.liked_above) == ('fil"ms', 4)


def test_sample_is_a_lake_that_keeps_the_contract(work):
    assert exit_code(work, "--sample") == 0
    lake.check(load(config=work / "ccf.toml"))
    assert len(rows(work, "items")) == 800 and rejects(work) == []


@pytest.mark.slow
def test_a_kill_leaves_the_old_lake_or_the_new_one(work):
    put(work, events_csv=EVENTS, items_csv=ITEMS)
    run(work, toml=MAPPED)
    old, new = state(work / "lake"), None
    command = [
        sys.executable,
        "-m",
        "ccf_batch.ingest",
        "--sample",
        "--config",
        str(work / "ccf.toml"),
    ]
    command += ["--domain.liked-above", "3"]
    for moment in range(10):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.3 + 0.25 * moment)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        now = state(work / "lake")
        if now != old and new is None:
            new = now
            assert len(rows(work, "items")) == 800
        assert now in (old, new)
    assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert new in (None, state(work / "lake"))
    assert not list(work.glob(".lake.ingest*"))


# --- the real data sets -------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "events", "users", "items"),
    [
        ("ml-100k", 100_000, 943, 1_682),
        ("ml-1m-ctr", 51_623, 838, 3_255),
        ("retail-uci", 386_354, 4_335, 3_659),
        ("books-library", 87_045, 7_838, 15_291),
    ],
)
def test_real_data_sets(shared, work, name, events, users, items):
    if (EXAMPLES / f"{name}.toml").exists():
        (work / "ccf.toml").write_bytes((EXAMPLES / f"{name}.toml").read_bytes())
    flags = ["--meta", str(shared / "ml-1m-meta")] if name == "ml-1m-ctr" else []
    settings = load(
        ingest.IngestCommand,
        work / "ccf.toml",
        ["--source", str(shared / name), *flags],
        missing_ok=True,
    )
    found = ingest.run(settings)
    assert (found["events"], found["users"], found["items"]) == (events, users, items)
    assert all(r["kept"] for r in rejects(work))
    lake.check(load(config=work / "ccf.toml"))
    json.dumps(lake.list_inputs(load(config=work / "ccf.toml")))


def test_too_little_memory_is_told_in_a_line(work, monkeypatch, capsys):
    import duckdb

    def cannot(*_):
        raise duckdb.OutOfMemoryException("Out of Memory Error: could not allocate\nand more")

    flags = ["--sample", "--config", str(work / "ccf.toml")]
    monkeypatch.setattr(ingest, "_ingest", cannot)
    assert console.main(ingest.IngestCommand, ingest.run, "i", missing_ok=True, argv=flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "score.memory_limit = 4GB is too little for DuckDB" in line
    assert "could not allocate" in line and "the lake is as it was" in line
