"The embedded sample: what it promises of itself."

import datetime as dt

import numpy as np
import pyarrow.parquet as pq
import pytest

from ccf_batch.data import synthetic


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    synthetic.write(folder, seed=0)
    return {name: pq.read_table(folder / f"{name}.parquet") for name in ("interactions", "items")}


def column(table, name):
    return table[name].to_numpy(zero_copy_only=False)


def test_the_seed_decides_every_byte(tmp_path, tables):
    for name, seed in (("again", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        synthetic.write(tmp_path / name, seed)
    for name, table in tables.items():
        assert pq.read_table(tmp_path / "again" / f"{name}.parquet").equals(table)
        assert not pq.read_table(tmp_path / "other" / f"{name}.parquet").equals(table)


def test_sizes_and_ranges(tables):
    events, films = tables["interactions"], tables["items"]
    assert 25_000 < len(events) < 40_000
    assert set(column(events, "user_id")) == set(range(1, 601))
    assert column(films, "item_id").tolist() == list(range(1, 801))
    assert set(column(events, "rating")) == {1, 2, 3, 4, 5}
    assert 0.4 < (column(events, "rating") > 3).mean() < 0.7
    first, last = events["event_ts"][0].as_py(), events["event_ts"][-1].as_py()
    assert dt.datetime(2025, 1, 1) <= first < last < dt.datetime(2025, 7, 1)
    assert len(set(films["title"].to_pylist())) == 800
    assert all(
        1 <= len(g) <= 3 and set(g) <= set(synthetic.GENRES) for g in films["genres"].to_pylist()
    )


def test_popularity_is_uneven_and_some_films_are_cold(tables):
    watched = np.bincount(column(tables["interactions"], "item_id"), minlength=801)[1:]
    top = np.sort(watched)[::-1]
    assert top[:80].sum() > 0.33 * top.sum()
    assert (watched == 0).sum() >= 16


def test_nobody_watches_a_film_twice_or_before_its_release(tables):
    events, films = tables["interactions"], tables["items"]
    pairs = list(zip(events["user_id"].to_pylist(), events["item_id"].to_pylist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    released = dict(
        zip(films["item_id"].to_pylist(), films["available_from"].to_pylist(), strict=True)
    )
    assert sum(when is not None for when in released.values()) > 100
    for item, when in zip(
        events["item_id"].to_pylist(), events["event_ts"].to_pylist(), strict=True
    ):
        assert released[item] is None or released[item] <= when


def test_people_arrive_until_the_end(tables):
    users, when = (
        column(tables["interactions"], "user_id"),
        column(tables["interactions"], "event_ts"),
    )
    last_week = np.datetime64("2025-06-24", "us")
    new = set(users[when >= last_week]) - set(users[when < last_week])
    assert len(new) >= 20


def test_taste_has_a_pattern_and_drifts(tables):
    """The genres that somebody likes more than others: alike in two halves of one month, less alike
    between the first and the last month. Correlated over users with enough events."""
    events, films = tables["interactions"], tables["items"]
    flags = np.array(
        [[g in has for g in synthetic.GENRES] for has in films["genres"].to_pylist()], float
    )
    user, item = column(events, "user_id"), column(events, "item_id") - 1
    stars, when = column(events, "rating"), column(events, "event_ts")
    film_mean = np.bincount(item, stars, 800) / np.maximum(np.bincount(item, minlength=800), 1)
    extra = stars - film_mean[item]

    def taste(rows):
        out = np.zeros((601, flags.shape[1]))
        np.add.at(out, user[rows], extra[rows, None] * flags[item[rows]])
        return out

    def alike(a, b):
        enough = (np.abs(a).sum(1) > 0) & (np.abs(b).sum(1) > 0)
        return np.corrcoef(a[enough].ravel(), b[enough].ravel())[0, 1]

    early, late = when < np.datetime64("2025-02-20"), when >= np.datetime64("2025-05-11")
    odd = np.arange(len(user)) % 2 == 1
    within = alike(taste(early & odd), taste(early & ~odd))
    across = alike(taste(early & odd), taste(late & ~odd))
    assert within > 0.1
    assert across < within - 0.03
