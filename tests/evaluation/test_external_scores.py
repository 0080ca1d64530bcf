"Score files: what is read, and what is refused with the row and the reason."

import gzip
import math
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccf_batch.base.errors import InputError
from ccf_batch.evaluation.external_scores import parse_files, read

USERS, ITEMS = pa.array([1, 1, 2, 2]), pa.array(["a", "b", "a", "a"])  # the pair (2, a) comes twice


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_scores_are_laid_on_the_rows_by_id(tmp_path):
    file = write(tmp_path / "s.csv", "x,item_id,user_id,score\n,b,1,3\n,a,2,-1e3\n,z,2,7\n")
    found = read(file, USERS, ITEMS)
    assert np.array_equal(found.score, [np.nan, 3, -1000, -1000], equal_nan=True)
    assert (found.rows, found.unmatched, found.missing) == (3, 1, 1)
    assert not found.probabilities and np.array_equal(found.margin, found.score, equal_nan=True)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_text_of_any_delimiter_with_quotes_and_signs(tmp_path, delimiter):
    lines = [["user_id", "item_id", "score"], ["1", '"a;,|"', "0.5"], ["1", '"x""y"', "0.25"]]
    if delimiter == "\t":
        lines[1][1] = '"a\n"'
    text = "\r\n".join(delimiter.join(line) for line in lines)
    item = pa.array(["a\n" if delimiter == "\t" else "a;,|", 'x"y'])
    found = read(write(tmp_path / "a [1]*.csv", text), pa.array([1, 1]), item)
    assert found.score.tolist() == [0.5, 0.25]


def test_packed_text_and_parquet_say_the_same(tmp_path):
    text = "user_id,item_id,score\n1,a,0.1\n1,b,\n2,a,NaN\n"
    with gzip.open(tmp_path / "s.csv.gz", "wt") as f:
        f.write(text)
    table = pa.table(
        {
            "user_id": pa.array([1, 1, 2], pa.int32()),
            "item_id": pa.array(["a", "b", "a"]).dictionary_encode(),
            "score": pa.array([0.1, None, math.nan]),
        }
    )
    pq.write_table(table, tmp_path / "s.parquet")
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("scores.csv", text)
    for name in ("s.csv.gz", "s.zip", "s.parquet"):
        found = read(tmp_path / name, USERS, ITEMS)
        assert np.array_equal(found.score, [0.1, np.nan, np.nan, np.nan], equal_nan=True)
        assert found.missing == 3 and found.probabilities


def test_probabilities_become_logits_that_keep_their_order(tmp_path):
    p = [0.0, 1e-300, 1e-20, 0.25, 1.0]
    ids = pa.array(range(5)), pa.array(["a"] * 5)
    table = pa.table({"user_id": ids[0], "item_id": ids[1], "score": p})
    pq.write_table(table, tmp_path / "p.parquet")
    found = read(tmp_path / "p.parquet", *ids)
    assert np.isfinite(found.margin).all() and (np.diff(found.margin) > 0).all()
    assert found.margin[3] == pytest.approx(math.log(1 / 3))


def test_text_ids_are_kept_as_they_are(tmp_path):
    file = write(tmp_path / "s.csv", "user_id,item_id,score\n007,1,5\n7,1,6\n")
    found = read(file, pa.array(["7", "007"]), pa.array(["1", "1"]))
    assert found.score.tolist() == [6, 5]
    # where ids are numbers, that is none
    with pytest.raises(InputError, match=r"row 2: user_id is '007'.*a whole number"):
        read(file, pa.array([7, 7]), pa.array([1, 1]))


HEAD = "user_id,item_id,score\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("user_id,item_id\n1,a\n", "has no column 'score'; it needs .* and has user_id, item_id"),
        ("user_id,item_id,score,score\n1,a,1,2\n", "more than one column 'score'"),
        (HEAD + "1,a,0.5\nx1,a,0.5\n1.0,b,1\n", "row 3: user_id is 'x1'.*whole number.*1 more"),
        (HEAD + ",a,0.5\n", "row 2: user_id is None"),
        (HEAD + "1,,0.5\n", "row 2: item_id is None, and should be an id"),
        (HEAD + "1,a,good\n", "row 2: score is 'good', and should be a finite number"),
        (HEAD + "1,a,inf\n", "row 2: score is 'inf'"),
        (HEAD + "1,a,1\n2,a,0\n1,a,2\n", "'1' and item_id 'a' have the scores 1.0 and 2.0"),
        (HEAD + "1,a,1\n2,b\n", "cannot be read"),
        (HEAD + "1,a,1\n2,b,1,5\n", "cannot be read"),
        (HEAD + "5,a,1\n", "no score for any of the 4 rows"),
        (HEAD + "1,a,\n", "no score for any"),
        ("", "is empty"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(tmp_path, text, message):
    file = write(tmp_path / "s.csv", text)
    with pytest.raises(InputError, match=message) as caught:
        read(file, USERS, ITEMS)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


def test_the_same_row_twice_is_one_row(tmp_path):
    file = write(tmp_path / "s.csv", HEAD + "1,a,0.5\n1,a,0.5\n")
    assert read(file, USERS, ITEMS).missing == 3


@pytest.mark.parametrize(
    "column, values, message",
    [
        ("user_id", ["1", "2"], "'user_id' is string, but in the lake user_id is whole numbers"),
        ("user_id", [1.0, 2.0], "'user_id' is double"),
        ("item_id", [1, 2], "'item_id' is int64, but in the lake item_id is text"),
    ],
)
def test_parquet_ids_must_be_of_the_lakes_type(tmp_path, column, values, message):
    table = {"user_id": [1, 2], "item_id": ["a", "a"], "score": [0.1, 0.2]} | {column: values}
    pq.write_table(pa.table(table), tmp_path / "s.parquet")
    with pytest.raises(InputError, match=message):
        read(tmp_path / "s.parquet", USERS, ITEMS)


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none.csv", USERS, ITEMS)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="no readable Parquet"):
        read(tmp_path / "bad.parquet", USERS, ITEMS)


def test_names():
    assert list(parse_files(["a=x.csv", "b c=y=z.parquet"], set())) == ["a", "b c"]
    assert parse_files(["b c=y=z.parquet"], set())["b c"].name == "y=z.parquet"
    for flags in (
        ["x.csv"],
        ["=x.csv"],
        [" =x"],
        ["a="],
        ["a=x", "a=y"],
        ["a\x1b=x"],
        ["\udcff=x"],
    ):
        with pytest.raises(InputError, match="--scores"):
            parse_files(flags, set())
