"What a file is and which columns it has: read rightly, or refused in one line that says what to do."

import bz2
import datetime as dt
import errno
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from files_of_users import attributes, exit_code, put, rejects, rows, run

from ccf_batch.base.errors import InputError
from ccf_batch.base.settings_file import load
from ccf_batch.data import lake
from ccf_batch.data.column_checks import check_columns
from ccf_batch.data.database import connect
from ccf_batch.data.formats import detect
from ccf_batch.data.reader import Reader, read_all
from ccf_batch.data.source_files import open_decompressed
from ccf_batch.settings import Ingest, Settings

EVENTS = "user_id,item_id,event_ts\nann,a,2026-05-01\nbob,b,2026-05-02\n"
PAIRS = [("ann", "a"), ("bob", "b")]


@pytest.fixture
def work(tmp_path):
    "A workspace and, in it, an empty folder `data` for somebody's files."
    (tmp_path / "data").mkdir()
    return tmp_path


def ingest_toml(interactions, items=None, more=""):
    lines = [f"interactions = {json.dumps(interactions)}"]
    lines += [f"items = {json.dumps(items)}"] if items else []
    return more + "\n[ingest]\n" + "\n".join(lines) + "\nmax_rejected = 0.9\n"


def refused(work, capsys, toml, *words):
    "Expect exit code 2, a message with all words, and no lake."
    (work / "ccf.toml").write_text(toml)
    assert exit_code(work, "--source", str(work / "data")) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    for word in words:
        assert word in message, message
    assert not (work / "lake").exists()
    return message


def read(work, **mapping):
    "Read files without writing a lake, and return the reader with what it notes for the report."
    data = detect(Settings(ingest=Ingest(**mapping)), work / "data")
    check_columns(data, mapped=data.name.endswith("as mapped in [ingest]"))
    with connect() as con:
        reader = Reader(con, Settings(), data.integers, work)
        read_all(reader, data)
    return reader


def pairs(work):
    return [(e["user_id"], e["item_id"]) for e in rows(work, "interactions")]


def as_parquet(work, text, name):
    pq.write_table(pa.csv.read_csv(io.BytesIO(text.encode())), work / "data" / name)


# --- A1, A2: files of one input that differ in their columns -----------------------------------------

PLAIN = "user_id,item_id,event_ts\nu1,i1,2025-01-01 00:00:00\n"
OPTIONAL = {
    "label": ("label", ["0", "1"], [0, 1], ""),
    "ingested_ts": (
        "ingested_ts",
        ["2025-01-03 00:00:00", "2025-01-04 00:00:00"],
        [dt.datetime(2025, 1, 3), dt.datetime(2025, 1, 4)],
        "",
    ),
    "event_id": ("event_id", ["e1", "e2"], ["e1", "e2"], ""),
    "rating": ("rating", ["2", "5"], [2.0, 5.0], "[domain]\nliked_above = 3\n"),
}


def both(work, kind, first, second, swapped):
    "Write two files, `a` and `b`; swapped: the other way round."
    for name, text in zip("ba" if swapped else "ab", (first, second), strict=True):
        if kind == "csv":
            put(work, **{f"{name}.csv": text})
        else:
            as_parquet(work, text, f"{name}.parquet")


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("name", OPTIONAL)
def test_a_column_that_one_file_of_events_lacks_is_null_in_its_rows(work, kind, name, swapped):
    column, texts, values, domain = OPTIONAL[name]
    full = f"user_id,item_id,event_ts,{column}\nu1,i2,2025-01-02 00:00:00,{texts[0]}\nu2,i1,2025-01-02 00:00:00,{texts[1]}\n"
    both(work, kind, PLAIN, full, swapped)
    run(work, toml=ingest_toml(f"?.{kind}", more=domain))
    events = rows(work, "interactions")
    assert [(e["user_id"], e["item_id"], e[column]) for e in events] == [
        ("u1", "i1", None),
        ("u1", "i2", values[0]),
        ("u2", "i1", values[1]),
    ]
    assert rejects(work) == []
    lake.check(load(config=work / "ccf.toml"))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_that_one_file_of_items_lacks_is_null_in_its_rows(work, kind, swapped):
    put(work, events_csv=PLAIN)
    plain = "item_id,title,brand\ni1,One,x\n"
    full = "item_id,title,price,available_to\ni2,Two,2.5,2025-06-01 00:00:00\n"
    both(work, kind, plain, full, swapped)
    groups = '[attributes]\ncategorical = ["brand"]\nnumeric = ["price"]\n'
    run(work, toml=ingest_toml("events.csv", f"?.{kind}", groups))
    one, two = rows(work, "items", ["item_id"])
    assert (one["available_to"], two["available_to"]) == (None, dt.datetime(2025, 6, 1))
    assert (attributes(one), attributes(two)) == ({"brand": ["x"]}, {"price": ["2.5"]})
    assert rejects(work) == []


@pytest.mark.parametrize("swapped", [False, True])
def test_a_needed_column_is_needed_in_every_file(work, capsys, swapped):
    both(work, "csv", PLAIN, "user_id,item_id,when\nu1,i2,2025-01-02\n", swapped)
    name = "a" if swapped else "b"
    refused(work, capsys, ingest_toml("?.csv"), f"{name}.csv: has no column 'event_ts'")


def test_a_mapped_column_must_be_in_one_file_at_least(work, capsys):
    both(work, "csv", PLAIN, PLAIN.replace("u1,i1", "u2,i1"), False)
    toml = ingest_toml("?.csv") + 'columns = { label = "liked" }\n'
    refused(work, capsys, toml, "none of 2 files has a column 'liked'", "as label")


def test_ratings_without_a_label_in_one_file_need_a_threshold(work, capsys):
    rated = "user_id,item_id,event_ts,rating\nu1,i1,2025-01-01,4\n"
    both(work, "csv", rated, "user_id,item_id,event_ts,label\nu1,i2,2025-01-02,0\n", False)
    refused(work, capsys, ingest_toml("?.csv"), "a.csv: has ratings", "domain.liked_above")


def test_a_lake_with_ratings_in_some_files_is_read_with_a_threshold(tmp_path):
    for day, more in (("01", {}), ("02", {"rating": [5.0]})):
        folder = tmp_path / "lake" / "interactions" / f"date=2025-01-{day}"
        folder.mkdir(parents=True)
        event = {"user_id": ["u"], "item_id": ["i"], "event_ts": [dt.datetime(2025, 1, int(day))]}
        pq.write_table(pa.table(event | more), folder / "a.parquet")
    (tmp_path / "lake" / "items").mkdir()
    kind = pa.map_(pa.string(), pa.list_(pa.string()))
    item = {"item_id": ["i"], "title": ["T"], "attributes": pa.array([[]], kind)}
    pq.write_table(pa.table(item), tmp_path / "lake" / "items" / "a.parquet")
    (tmp_path / "ccf.toml").write_text("[domain]\nliked_above = 3\n")
    lake.check(load(config=tmp_path / "ccf.toml"))


# --- what the report prints --------------------------------------------------------------------------


def test_columns_that_files_lack_or_nobody_uses_are_noted(work):
    put(
        work,
        **{
            "a.csv": "user_id,item_id,event_ts,note\nu1,i1,2025-01-01,x\n",
            "b.csv": "user_id,item_id,event_ts,label,shop\nu1,i2,2025-01-02,0,x\n",
            "items.csv": "item_id,title,year,color\ni1,One,1999,red\ni2,Two,2000,blue\n",
        },
    )
    reader = read(work, interactions="?.csv", items="items.csv")
    assert reader.lacking == {("interactions", "a.csv"): ["label"]}
    assert reader.unused == {"interactions": ["note", "shop"], "items": ["year", "color"]}


def test_one_file_for_both_inputs_has_its_columns_used_by_either(work):
    put(work, all_csv="user_id,item_id,event_ts,title,x\nu1,i1,2025-01-01,One,1\n")
    reader = read(work, interactions="all.csv", items="all.csv")
    assert reader.unused == {"interactions": ["x"], "items": ["x"]}


def test_unused_columns_of_a_known_data_set(work):
    flags = "|".join(["1"] * 19)
    put(
        work,
        u_data="1\t1\t4\t881250949\n",
        u_item=f"1|Heat (1995)|01-Jan-1995||http://x|{flags}\n",
    )
    assert read(work).unused == {"items": ["release_date", "video_release_date", "imdb_url"]}


def test_files_of_macos_are_skipped_and_noted(work):
    put(work, **{"part-1.csv": PLAIN, "._part-1.csv": b"\x00\x05\x16\x07" + b"\x00" * 80})
    assert read(work, interactions="*part*.csv").skipped == ("._part-1.csv",)
    run(work, toml=ingest_toml("*part*.csv"))
    assert pairs(work) == [("u1", "i1")]


def test_a_file_of_macos_that_is_named_is_refused(work, capsys):
    put(work, **{"._a.csv": b"\x00\x05\x16\x07" + b"\x00" * 80})
    refused(work, capsys, ingest_toml("._a.csv"), "._a.csv: is a file that macOS keeps beside")
    refused(work, capsys, ingest_toml("*.csv"), "*.csv: no such file")


# --- B6: RecBole's atomic files ----------------------------------------------------------------------

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\nx\tHeat\ny\tRan\n"


def rated(*values, user="u"):
    return INTER + "".join(f"{user}{n}\tx\t{v}\t97830076{n}\n" for n, v in enumerate(values))


def test_parts_of_a_recbole_benchmark_are_the_interactions_of_one_data_set(work):
    header = INTER.replace("\ttimestamp:float", "\ttimestamp:float\tlabel:float")
    put(
        work,
        **{
            "ml-1m.part1.inter": rated(5, 1),
            "ml-1m.part2.inter": rated(3, user="v"),
            "ml-1m.part10.inter": header + "w\ty\t4\t978300800\t1\n",
            "ml-1m.item": ITEM,
        },
    )
    found = run(work)
    assert (found["events"], found["users"], found["items"]) == (4, 4, 2)
    assert [(e["user_id"], e["rating"], e["label"]) for e in rows(work, "interactions")] == [
        ("u0", 5, None),
        ("u1", 1, None),
        ("v0", 3, None),
        ("w", 4, 1),
    ]


def test_the_whole_file_of_recbole_is_read_instead_of_its_parts(work):
    put(work, **{"a.inter": rated(5, 1), "a.part1.inter": rated(5), "a.item": ITEM})
    assert read(work).skipped == ("a.part1.inter",)
    assert run(work)["events"] == 2
    assert load(config=work / "ccf.toml").domain.liked_above == 3


def test_interactions_of_several_recbole_data_sets_are_refused(work, capsys):
    put(work, **{"a.inter": rated(5), "b.part1.inter": rated(5), "a.item": ITEM})
    refused(work, capsys, "", "several data sets (a.inter, b.part1.inter)", "folder")


def test_items_of_another_recbole_data_set_are_refused(work, capsys):
    put(work, **{"a.inter": rated(5), "b.item": ITEM})
    refused(work, capsys, "", "has a.inter, but the items of 'b'", "rename b.item to a.item")
    (work / "data" / "a.inter").unlink()
    refused(work, capsys, "", "has b.item, but no b.inter")


def test_recbole_interactions_alone(work):
    put(work, **{"a.inter": rated(5, 1)})
    found = run(work)
    assert (found["events"], found["items"], found["untitled"]) == (2, 1, 1)


def test_columns_of_recbole_under_other_names_are_mapped(work):
    put(
        work,
        **{
            "yelp.inter": "review_id:token\tuser_id:token\tbusiness_id:token\tstars:float\tdate:float\n"
            "r1\tu\tx\t4\t978300760\nr2\tu\ty\t1\t978300761\n",
            "yelp.item": "business_id:token\titem_name:token_seq\tcity:token_seq\tlatitude:float\n"
            "x\tFish & Co\tBad Ems\t50.3\ny\tPizza\tRom\t41.9\n",
        },
    )
    toml = """
[domain]
liked_above = 3
[attributes]
categorical = ["city"]
numeric = ["latitude"]
[ingest.columns]
item_id = "business_id"
rating = "stars"
event_ts = "date"
title = "item_name"
"""
    run(work, toml=toml)
    assert [(e["item_id"], e["rating"]) for e in rows(work, "interactions")] == [("x", 4), ("y", 1)]
    one, two = rows(work, "items", ["item_id"])
    assert (one["item_id"], one["title"]) == ("x", "Fish & Co")
    assert attributes(one) == {"city": ["Bad", "Ems"], "latitude": ["50.3"]}
    assert attributes(two) == {"city": ["Rom"], "latitude": ["41.9"]}


def test_columns_of_movielens_under_other_names_are_mapped(work):
    put(
        work,
        ratings_csv="who,movieId,rating,timestamp\n1,10,4.5,978300760\n",
        movies_csv="movieId,title,genres\n10,Ran (1985),Drama\n",
    )
    run(work, toml='[domain]\nliked_above = 3\n[ingest.columns]\nuser_id = "who"\n')
    assert pairs(work) == [(1, 10)]


@pytest.mark.parametrize("values", [(1, 10), (0, 100), (-1, 4), (1, 2)])
def test_a_scale_of_recbole_that_three_does_not_divide_is_asked_for(work, capsys, values):
    put(work, **{"book.inter": rated(*values), "book.item": ITEM})
    assert exit_code(work, "--source", str(work / "data")) == 2
    message = capsys.readouterr().err
    assert f"book.inter: has ratings from {values[0]} to {values[1]}" in message
    assert "--domain.liked-above N" in message
    assert not (work / "lake").exists() and not (work / "ccf.toml").exists()
    run(work, "--domain.liked-above", "6")
    assert load(config=work / "ccf.toml").domain.liked_above == 6


# --- B7: what is liked is asked before the rows are read ---------------------------------------------


def test_likes_are_asked_for_before_the_rows_are_read(work, capsys, monkeypatch):
    monkeypatch.setattr(Reader, "read", None)  # would be a TypeError
    put(work, events_csv=EVENTS, rated_csv=EVENTS.replace("\n", ",4\n").replace("ts,4", "ts,stars"))
    toml = ingest_toml("rated.csv") + 'columns = { rating = "stars" }\n'
    refused(work, capsys, toml, "rated.csv: has ratings (stars)", "domain.liked_above is not set")
    toml = ingest_toml("events.csv", more="[domain]\nliked_above = 3\n")
    refused(work, capsys, toml, "events.csv: has no column 'rating', but domain.liked_above is set")


# --- A10: no header ----------------------------------------------------------------------------------

TAOBAO = "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,buy,1511561733\n"
NAMES = '["user_id", "item_id", "category", "event", "event_ts"]'


def test_a_file_without_a_header_is_refused_with_advice_that_loses_no_row(work, capsys):
    put(work, events_csv=TAOBAO)
    advice = 'interactions = ["user_id", "item_id", "event_ts", "column_4", "column_5"]'
    words = ("has no header", "1, 2268318, 2520377, pv, 1511544070", "[ingest.names]", advice)
    refused(work, capsys, ingest_toml("events.csv"), *words)
    mapped = 'columns = { user_id = "1", item_id = "2268318", event_ts = "1511544070" }\n'
    refused(work, capsys, ingest_toml("events.csv") + mapped, *words)
    run(work, toml=ingest_toml("events.csv") + f"[ingest.names]\ninteractions = {NAMES}\n")
    assert pairs(work) == [(1, 2268318), (1, 2333346)]
    assert read(
        work, interactions="events.csv", names={"interactions": json.loads(NAMES)}
    ).unused == {"interactions": ["category", "event"]}


@pytest.mark.parametrize(
    "row", ["0\t2010-10-19T23:55:27Z\t30.23\t-97.79\t22847", "ann|x|03/06/2025|", "ann;x;;y"]
)
def test_other_rows_without_a_header(work, capsys, row):
    put(work, events_csv=row + "\n" + row + "\n")
    refused(work, capsys, ingest_toml("events.csv"), "has no header", "[ingest.names]")


def test_a_first_row_of_words_may_be_either(work, capsys):
    put(work, events_csv="ann,x,soon\n")
    words = ("has no column 'user_id'", "[ingest.columns]", "if row 1 is data", "[ingest.names]")
    refused(work, capsys, ingest_toml("events.csv"), *words)


def test_a_header_of_numbers_as_pandas_writes_it(work):
    put(work, events_csv=",0,1,2\n0,ann,a,2026-05-01\n1,bob,b,2026-05-02\n")
    run(
        work,
        toml=ingest_toml("events.csv") + 'columns = {user_id = "0", item_id = "1", event_ts = "2"}',
    )
    assert pairs(work) == PAIRS


@pytest.mark.parametrize("extra", [",2019", ","])
def test_a_header_with_a_number_or_an_empty_name_is_one(work, extra):
    header, *lines = EVENTS.splitlines()
    put(work, events_csv="\n".join([header + extra, *(f"{line},1" for line in lines)]) + "\n")
    run(work, toml=ingest_toml("events.csv"))
    assert pairs(work) == PAIRS


@pytest.mark.parametrize(
    ("content", "names", "words"),
    [
        ("1,2,3\n", '["user_id", "item_id"]', "row 1 has 3 columns, but ingest.names.interactions names 2"),
        (EVENTS, '["user_id", "item_id", "event_ts"]', "has a header, row 1 is what"),
        (EVENTS, '["a", "b", "b"]', "more than one column 'b'"),
        (EVENTS, '["a", "b", "c"]', "has no column 'user_id'"),
        ('{"user_id": 1}\n', '["a", "b", "c"]', "has names for its columns"),
    ],
)  # fmt: skip
def test_names_that_do_not_fit(work, capsys, content, names, words):
    put(work, events_csv=content)
    refused(
        work, capsys, ingest_toml("events.csv") + f"names = {{ interactions = {names} }}", words
    )


def test_names_for_no_file_are_refused(work, capsys):
    put(work, ratings_csv="userId,movieId,rating,timestamp\n", movies_csv="movieId,title,genres\n")
    words = "ingest.names.items: is for files that ingest.items names"
    refused(work, capsys, 'ingest.names.items = ["item_id", "title"]\n', words)


def test_names_of_headerless_files_in_a_glob_with_a_header_in_the_first(work, capsys):
    put(work, **{"part-0": EVENTS, "part-1": "cy,a,2026-05-03\n"})
    refused(work, capsys, ingest_toml("part-*"), "part-1: has no header")
    names = 'names = { interactions = ["user_id", "item_id", "event_ts"] }\n'
    refused(
        work, capsys, ingest_toml("part-*") + names, "part-0: has a header", "remove that, or row 1"
    )


def test_an_attribute_that_is_named_by_a_number(work):
    put(work, events_csv=EVENTS, items_csv="item_id,title,2019\na,Heat,7\nb,Ran,8\n")
    run(work, toml=ingest_toml("events.csv", "items.csv", '[attributes]\nnumeric = ["2019"]\n'))
    assert [attributes(i) for i in rows(work, "items")] == [{"2019": ["7"]}, {"2019": ["8"]}]


def test_a_first_row_of_data_over_two_lines(work):
    put(work, events_csv=EVENTS, items_csv='a,"Heat\nand ""dust"""\nb,Ran\n')
    toml = ingest_toml("events.csv", "items.csv") + 'names = { items = ["item_id", "title"] }\n'
    run(work, toml=toml)
    assert [i["title"] for i in rows(work, "items", ["item_id"])] == ['Heat\nand "dust"', "Ran"]


def test_names_tell_the_delimiter_where_titles_have_commas(work):
    put(work, events_csv="ann a 1777665600\n", items_csv="a|Fire, Water, Air\n")
    toml = ingest_toml("events.csv", "items.csv")
    toml += '[ingest.names]\ninteractions = ["user_id", "item_id", "event_ts"]\nitems = ["item_id", "title"]\n'
    run(work, toml=toml)
    assert pairs(work) == [("ann", "a")]
    assert rows(work, "items")[0]["title"] == "Fire, Water, Air"


def test_a_known_data_set_without_a_header(work, capsys):
    put(work, ratings_csv="1,10,4.5,978300760\n", movies_csv="movieId,title,genres\n10,Ran,Drama\n")
    refused(work, capsys, "", "ratings.csv: has no header", "describe the files under [ingest]")


# --- B5, A7: delimiter and header --------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        'user_id;item_id;event_ts;"price, net, in EUR, rounded"\nann;a;2026-05-01;1\nbob;b;2026-05-02;2\n',
        "user_id item_id event_ts\nann a 2026-05-01\nbob b 2026-05-02\n",
        "user_id, item_id , event_ts\nann,a,2026-05-01\nbob,b,2026-05-02\n",
        'user_id|"item_id "|event_ts\nann|a|2026-05-01\nbob|b|2026-05-02\n',
        "user_id\titem_id\tevent_ts\nann\ta\t2026-05-01\nbob\tb\t2026-05-02\n",
        "\ufeff" + EVENTS,
        'user_id,item_id,event_ts,"price\nin ""EUR"""\nann,a,2026-05-01,1\nbob,b,2026-05-02,2\n',
    ],
)
def test_the_delimiter_and_the_names_of_a_header(work, content):
    put(work, events_csv=content)
    run(work, toml=ingest_toml("events.csv"))
    assert pairs(work) == PAIRS and rejects(work) == []


# --- B3: compressed files, by their content ----------------------------------------------------------


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def zstd(content):
    return pa.compress(content, codec="zstd", asbytes=True)


B = EVENTS.encode()
HALF = len(B) - len("bob,b,2026-05-02\n")
COMPRESSED = {
    "events.GZ": gzip.compress(B),
    "events": gzip.compress(B),
    "two.csv.gz": gzip.compress(B[:HALF]) + gzip.compress(B[HALF:]),
    "events.csv.zst": zstd(B),
    "zstd.csv": zstd(B),
    "events.csv.bz2": bz2.compress(B),
    "events.csv.xz": lzma.compress(B),
    "events.zip": zipped(("events.csv", B)),
    "events.csv": zipped(("__MACOSX/._e.csv", b"\x00"), ("folder/", b""), ("folder/e.csv", B)),
    "plain.csv.gz": B,
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_compressed_file_is_read_whatever_its_name(work, name):
    put(work, **{name: COMPRESSED[name]})
    run(work, toml=ingest_toml(name))
    assert pairs(work) == PAIRS
    assert {p.name for p in work.iterdir()} == {"data", "ccf.toml", "lake", ".lake.lock"}


@pytest.mark.parametrize("pack", [bz2.compress, gzip.compress, zstd])
def test_rejected_rows_of_compressed_files_have_their_file_and_row(work, pack):
    bad = EVENTS + "cy,a\n"
    put(work, **{"a.csv": pack(bad.encode()), "b.csv": pack(EVENTS.replace("05-", "06-").encode())})
    run(work, toml=ingest_toml("?.csv"))
    assert [(r["file"], r["row"], r["reason"]) for r in rejects(work)] == [
        ("a.csv", 4, "row has too few columns")
    ]
    assert len(pairs(work)) == 4


def test_parquet_under_another_name(work):
    as_parquet(work, EVENTS, "events.csv")
    run(work, toml=ingest_toml("events.csv"))
    assert pairs(work) == PAIRS


def written(write):
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def tarred(mode):
    def write(out):
        with tarfile.open(fileobj=out, mode=mode) as archive:
            info = tarfile.TarInfo("events.csv")
            info.size = len(B)
            archive.addfile(info, io.BytesIO(B))

    return written(write)


def sqlite(tmp_path):
    with sqlite3.connect(tmp_path / "db") as con:
        con.execute("CREATE TABLE events (user_id, item_id)")
    con.close()
    return (tmp_path / "db").read_bytes()


TABLE = pa.table({"user_id": [1], "item_id": [2], "event_ts": [dt.datetime(2026, 5, 1)]})
PARQUET = written(lambda out: pq.write_table(TABLE, out))
REFUSED = {
    "several members": (zipped(("a.csv", B), ("b.csv", B)), "is a zip archive of 2 files (a.csv, b.csv); unpack it"),
    "no member": (zipped(), "is an empty zip archive"),
    "xlsx": (zipped(("[Content_Types].xml", b"<x/>"), ("xl/workbook.xml", b"")), "Excel workbook; save it as CSV"),
    "first part of a zip": (b"PK\x07\x08PK\x03\x04" + b"\x00" * 50, "is a part of a zip archive in several parts"),
    "cut zip": (zipped(("a.csv", B))[:60], "is no complete zip archive"),
    "last part of a zip": (b"\xa7\x13" * 300 + zipped(("a.csv", B))[60:], "is the last part of a zip archive"),
    "zip in a zip": (zipped(("a.zip", zipped(("a.csv", B)))), "is compressed twice; unpack it once"),
    "tar": (tarred("w"), "is a tar archive; unpack it"),
    "tar.gz": (tarred("w:gz"), "is a tar archive; unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04" + b"\x00" * 50, "is a 7z archive; unpack it"),
    "rar": (b"Rar!\x1a\x07\x01\x00" + b"\x00" * 50, "is a RAR archive; unpack it"),
    "lz4": (b"\x04\x22\x4d\x18" + b"\x00" * 50, "is compressed by lz4; unpack it"),
    "orc": (written(lambda out: pa.orc.write_table(TABLE, out)), "is an ORC file; write it as Parquet or CSV"),
    "avro": (b"Obj\x01\x02\x16avro.schema", "is an Avro file; write it as Parquet or CSV"),
    "feather": (written(lambda out: pa.feather.write_feather(TABLE, out)), "is a Feather (Arrow IPC) file"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + b"\x00" * 50, "is an HDF5 file; write it as Parquet or CSV"),
    "pickle": (pickle.dumps([1]), "is a Python pickle; write it as Parquet or CSV"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 50, "Excel workbook; save it as CSV"),
    "html": (b"\n<!DOCTYPE html>\n<html>", "is a web page; download the file itself"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a pointer of Git LFS"),
    "utf-16": (EVENTS.encode("utf-16"), "is UTF-16; convert it, as with `iconv"),
    "parquet.gz": (gzip.compress(PARQUET), "is a compressed Parquet file; unpack it"),
    "cut gzip": (gzip.compress(B * 50)[:60], "cannot be read"),
    "cut bz2": (bz2.compress(B)[:60], "cannot be read"),
    "cut xz": (lzma.compress(B)[:60], "cannot be read"),
    "cut zstd": (zstd(B * 50)[:20], "cannot be read"),
    "old Mac": (EVENTS.replace("\n", "\r").encode(), "line ends of old Macs (CR alone)"),
    "json array": (b'[\n  {"user_id": 1}\n]', "is a JSON array; write one object a line, as with `jq -c '.[]'"),
    "json over lines": (b'{\n  "user_id": 1\n}\n', "is JSON, but not one object a line"),
    "python": (b"{u'user_id': '1', 'item_id': 2}\n", "lines as Python prints them, with single quotes"),
    "note to Excel": (b"sep=;\nuser_id;item_id\n", "row 1 is a note to Excel (sep=;); delete it"),
    "blanks": (b"user_id  item_id  event_ts\n1  2  3\n", "several blanks between two columns; write one"),
    "unclosed quote": (b'user_id,"item_id,event_ts\n1,2,3\n', "row 1 cannot be split into columns"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_named_with_the_way_out(work, capsys, name):
    content, words = REFUSED[name]
    put(work, events_csv=content)
    message = refused(work, capsys, ingest_toml("events.csv"), "events.csv: ", words)
    assert len(message.splitlines()) == 1
    assert {p.name for p in work.iterdir()} <= {"data", "ccf.toml", ".lake.lock"}


def test_a_database_is_refused(work, capsys, tmp_path):
    put(work, events_csv=sqlite(tmp_path))
    refused(
        work, capsys, ingest_toml("events.csv"), "is an SQLite database; export the table as CSV"
    )


def test_a_pointer_instead_of_parquet_is_refused(work, capsys):
    put(work, **{"events.parquet": REFUSED["lfs"][0]})
    refused(work, capsys, ingest_toml("events.parquet"), "is a pointer of Git LFS", "git lfs pull")


def test_a_zip_archive_with_a_password_is_refused(work, capsys):
    content = bytearray(zipped(("events.csv", B), method=zipfile.ZIP_STORED))
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the list of members
    put(work, events_csv=bytes(content))
    refused(work, capsys, ingest_toml("events.csv"), "is a zip archive with a password; unpack it")


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, OSError), (errno.EIO, InputError)])
def test_no_room_for_a_copy_is_no_fault_of_the_file(work, number, kind):
    put(work, events_csv=EVENTS)
    with pytest.raises((OSError, InputError)) as caught:
        with open_decompressed(work / "data" / "events.csv"):
            raise OSError(number, "as the disk says it")
    assert type(caught.value) is kind


# --- B4: JSON lines ----------------------------------------------------------------------------------

LINES = """\
{"user_id": "ann", "item_id": "a", "event_ts": "2026-05-01", "label": true, "extra": {"x": [1, null]}}

{"user_id": "bob", "item_id": "b", "event_ts": 1777665600, "label": false, "event_id": null}
nonsense
{"event_ts": "2026-05-03", "label": 1, "item_id": "a", "user_id": "caf\\u00e9", "event_id": "e\\"1"}
["ann", "a"]
{"user_id": "cy", "item_id": "a", "event_ts": "soon", "label": 0}
{"user_id": "dee", "item_id": "a", "event_ts": "2026-05-04"}
"""


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("events.jsonl", bytes),
        ("events.json", lambda b: b"\xef\xbb\xbf" + b),
        ("events.ndjson", lambda b: b.replace(b"\n", b"\r\n")),
        ("events.csv", gzip.compress),
        ("events.jsonl.bz2", bz2.compress),
        ("events.jsonl.zst", zstd),
        ("events.zip", lambda b: zipped(("events.jsonl", b))),
    ],
)
def test_json_lines(work, name, pack):
    put(work, **{name: pack(LINES.encode())})
    run(work, toml=ingest_toml(name))
    events = rows(work, "interactions")
    assert [(e["user_id"], e["item_id"], e["label"], e["event_id"]) for e in events] == [
        ("ann", "a", 1, None),
        ("bob", "b", 0, None),
        ("café", "a", 1, 'e"1'),
    ]
    assert events[1]["event_ts"] == dt.datetime(2026, 5, 1, 20)
    assert [
        (r["row"], r["field"], r["value"], r["reason"].split(":")[0]) for r in rejects(work)
    ] == [
        (4, None, "nonsense", "row is no JSON object"),
        (6, None, '["ann", "a"]', "row is no JSON object"),
        (7, "event_ts", "soon", "is no timestamp"),
        (8, "label", None, "is neither 0 nor 1"),
    ]
    assert read(work, interactions=name).unused == {"interactions": ["extra"]}


def test_lines_that_are_no_text_do_not_move_the_rows_of_json_lines(work):
    bad = b'{"user_id": "caf\xe9"}\n'
    lines = LINES.encode().splitlines(keepends=True)
    put(work, **{"events.jsonl": b"".join([lines[0], bad, *lines[1:4], bad, *lines[4:]])})
    run(work, toml=ingest_toml("events.jsonl"))
    assert [(r["row"], r["reason"].split(":")[0]) for r in rejects(work)] == [
        (2, "row is not UTF-8"),
        (5, "row is no JSON object"),
        (6, "row is not UTF-8"),
        (8, "row is no JSON object"),
        (9, "is no timestamp"),
        (10, "is neither 0 nor 1"),
    ]


def test_what_another_parser_would_read_is_no_json_here(work):
    lines = LINES.splitlines()[:1] + [
        '{"user_id": "x", "item_id": "a", "event_ts": "2026-05-01", "new": 1,}'
    ]
    put(work, **{"events.jsonl": "\n".join(lines)})
    run(work, toml=ingest_toml("events.jsonl"))
    assert [(r["row"], r["reason"]) for r in rejects(work)] == [(2, "row is no JSON object")]


def test_odd_keys_of_json_lines(work):
    line = '{"user_id": "ann", "item_id": "a", "event_ts": "2026-05-01", %s: 1}\n'
    keys = ['""', '"a\\"b.c"', '"\\u0000"', '"\\ud800"', '"$.x[0]"']
    put(
        work,
        **{
            "events.jsonl": "".join(
                line.replace("01", f"0{n}", 1) % k for n, k in enumerate(keys, 1)
            )
        },
    )
    run(work, toml=ingest_toml("events.jsonl"))
    assert [(r["row"], r["reason"]) for r in rejects(work)] == [(4, "row is no JSON object")]
    assert [e["event_ts"].day for e in rows(work, "interactions")] == [1, 2, 3, 5]


def test_items_in_json_lines_with_a_nested_attribute(work):
    items = [
        {"asin": "a", "title": "Lamp", "price": 9.5, "features": ["bright", "red"], "open": True},
        {"asin": "b", "title": None, "price": None, "features": {"x": "green"}},
    ]
    put(
        work,
        events_csv=EVENTS,
        **{"meta.jsonl": "".join(json.dumps(i) + "\n" for i in items)},
    )
    groups = '[attributes]\nnumeric = ["price"]\ntext = ["features"]\n'
    toml = (
        ingest_toml("events.csv", "meta.jsonl", groups) + 'columns = {"items.item_id" = "asin"}\n'
    ) + 'fields = { features = "x" }\n'
    run(work, toml=toml)
    one, two = rows(work, "items", ["item_id"])
    assert (one["title"], two["title"]) == ("Lamp", None)
    assert attributes(one)["price"] == ["9.5"] and "price" not in attributes(two)
    assert attributes(one)["features"] == ["bright", "red"]
    assert attributes(two)["features"] == ["green"]
    assert read(
        work, interactions="events.csv", items="meta.jsonl", columns={"items.item_id": "asin"}
    ).unused == {"items": ["price", "features", "open"]}


def test_json_lines_beside_csv_in_one_input(work):
    put(work, **{"a.csv": EVENTS.replace("05-", "06-"), "b.jsonl": LINES.splitlines()[0]})
    run(work, toml=ingest_toml("?.*"))
    assert [(e["user_id"], e["label"]) for e in rows(work, "interactions")] == [
        ("ann", 1),
        ("ann", None),
        ("bob", None),
    ]
