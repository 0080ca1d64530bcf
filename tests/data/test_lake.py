"The lake's contract: every way of not keeping it has a message that names file, field and fix."

import datetime as dt
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccf_batch.base.errors import InputError
from ccf_batch.base.settings_file import load
from ccf_batch.data.lake import check as check_lake
from ccf_batch.data.lake import list_inputs

MAP = pa.map_(pa.string(), pa.list_(pa.string()))
NOON = dt.datetime(2026, 5, 1, 12)


def put(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def events(lake, date="2026-05-01", **changed):
    columns = {"user_id": [1, 2], "item_id": [10, 11], "event_ts": pa.array([NOON] * 2)} | changed
    columns = {k: v for k, v in columns.items() if v is not None}
    return put(lake / "interactions" / f"date={date}" / "a.parquet", **columns)


def items(lake, **changed):
    columns = {
        "item_id": [10, 11],
        "title": ["Heat (1995)", None],
        "attributes": pa.array([[("genres", ["Crime"])], []], MAP),
    } | changed
    columns = {k: v for k, v in columns.items() if v is not None}
    return put(lake / "items" / "a.parquet", **columns)


@pytest.fixture
def lake(tmp_path):
    events(tmp_path / "lake")
    items(tmp_path / "lake")
    return tmp_path / "lake"


def check(lake, toml=""):
    (lake.parent / "ccf.toml").write_text(toml)
    check_lake(load(config=lake.parent / "ccf.toml"))


def refused(lake, *words, toml=""):
    with pytest.raises(InputError) as e:
        check(lake, toml)
    for word in words:
        assert str(word) in str(e.value)


def test_a_lake_that_keeps_the_contract(lake):
    check(lake)
    check(lake, '[attributes]\ncategorical = ["genres"]')


def test_every_optional_table_and_column(lake):
    events(
        lake,
        rating=[4.0, 1.5],
        label=pa.array([1, 0], pa.int8()),
        ingested_ts=pa.array([NOON, None]),
        event_id=["a", "b"],
    )
    items(lake, available_from=pa.array([NOON, None]), available_to=pa.array([None, NOON]))
    put(lake / "users" / "a.parquet", user_id=[1], attributes=pa.array([[]], MAP))
    put(
        lake / "examples" / "split=train" / "a.parquet",
        user_id=[1],
        item_id=[10],
        label=pa.array([1], pa.int8()),
        event_ts=pa.array([NOON]),
        history=pa.array([[11]]),
        not_cold=pa.array([1], pa.int8()),
    )
    sources = pa.array(["mine"]).dictionary_encode()
    put(
        lake / "candidates" / "date=2026-05-02" / "a.parquet",
        user_id=[1],
        item_id=[10],
        source=sources,
    )
    check(lake, "[domain]\nliked_above = 3")


@pytest.mark.parametrize("table", ["interactions", "items"])
def test_a_needed_table_is_missing(lake, table):
    next((lake / table).rglob("*.parquet")).unlink()
    refused(lake, lake / table, "no Parquet file", "ccf_batch.ingest")


@pytest.mark.parametrize("column", ["user_id", "item_id", "event_ts"])
def test_a_column_is_missing(lake, column):
    file = events(lake, **{column: None})
    refused(lake, file, f"need a column {column!r} of type", "it has")


@pytest.mark.parametrize(
    ("column", "values", "fix"),
    [
        ("user_id", pa.array([1.0, 2.0]), "BIGINT or VARCHAR"),
        ("user_id", pa.array([1, 2], pa.int32()), "BIGINT or VARCHAR"),
        ("event_ts", pa.array([1, 2]), "TIMESTAMP, naive and in UTC"),
        (
            "event_ts",
            pa.array([NOON] * 2, pa.timestamp("us", "UTC")),
            "TIMESTAMP, naive and in UTC",
        ),
        ("rating", pa.array(["5", "4"]), "DOUBLE"),
        ("label", pa.array([1, 0]), "TINYINT"),
        ("ingested_ts", pa.array(["2026-05-01", None]), "TIMESTAMP"),
        ("event_id", pa.array([1, 2]), "VARCHAR"),
    ],
)
def test_a_column_has_the_wrong_type(lake, column, values, fix):
    refused(lake, events(lake, **{column: values}), repr(column), f"cast it to {fix}")


def test_attributes_of_the_wrong_shape(lake):
    flat = pa.array([[("genres", "Crime")], []], pa.map_(pa.string(), pa.string()))
    refused(lake, items(lake, attributes=flat), "'attributes'", "MAP(VARCHAR, VARCHAR[])")


def test_ids_have_one_type_everywhere(lake):
    file = items(lake, item_id=["10", "11"])
    refused(lake, file, "'item_id' is text, but integer of 64 bits in", "with one type")


def test_one_bad_file_among_good_ones_is_named(lake):
    bad = events(lake, date="2026-05-02", event_ts=pa.array(["x", "y"]))
    refused(lake, bad, "'event_ts'")


def test_a_truncated_file(lake):
    file = next((lake / "items").glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-20])
    refused(lake, file, "no readable Parquet file")


def test_a_folder_that_is_no_date(lake):
    events(lake, date="May")
    refused(lake, "date=May", "date=2026-11-24")


@pytest.mark.parametrize("table", ["interactions", "items"])
def test_a_table_without_a_row(lake, table):
    file = next((lake / table).rglob("*.parquet"))
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    refused(lake, lake / table, "has no row")


def test_ratings_need_a_bar_and_a_bar_needs_ratings(lake):
    refused(lake, "'rating'", "liked_above", toml="[domain]\nliked_above = 3")
    file = events(lake, rating=[4.0, 2.0])
    refused(lake, file, "domain.liked_above is not set")
    check(lake, "[domain]\nliked_above = 3")


def test_an_attribute_that_no_item_has(lake):
    toml = '[attributes]\nnumeric = ["genre"]'
    refused(lake, "'genre' of attributes.numeric", "items have genres", toml=toml)


def test_fingerprint(lake):
    (lake / "rejects").mkdir()
    put(lake / "rejects" / "rejects.parquet", row=[1])
    settings = load(config=None)
    settings._workspace = lake.parent
    before = list_inputs(settings)
    assert [f["path"] for f in before] == [
        "interactions/date=2026-05-01/a.parquet",
        "items/a.parquet",
    ]
    assert all(re.fullmatch("[0-9a-f]{64}", f["footer_sha256"]) for f in before)
    assert before[1]["bytes"] == (lake / "items" / "a.parquet").stat().st_size
    assert list_inputs(settings) == before
    items(lake, title=["Heat (1995)", "Ran (1985)"])
    after = list_inputs(settings)
    assert after[0] == before[0]
    assert after[1]["footer_sha256"] != before[1]["footer_sha256"]
    assert after[1]["mtime_ns"] == (lake / "items" / "a.parquet").stat().st_mtime_ns


def test_fingerprint_of_what_is_no_parquet(lake):
    file = lake / "items" / "a.parquet"
    file.write_bytes(b"PAR1 nothing in here")
    settings = load(config=None)
    settings._workspace = lake.parent
    with pytest.raises(InputError, match=r"a\.parquet: is no complete Parquet file"):
        list_inputs(settings)
