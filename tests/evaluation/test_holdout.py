"The date to train until that `evaluate` proposes: both classes lie before and after it."

import datetime as dt

import pyarrow as pa
import pytest
from lakes import DAY, START, Event, Item, settings_for, write, write_lake

from ccf_batch.evaluation.holdout import open_tables, span_of, suggest_train_date

ITEMS = [Item(f"i{n}") for n in range(10)]


def tables(folder, times, date=None, liked=lambda n: n % 2 == 0, **groups):
    "The tables of a rating at each of these times."
    events = [
        Event(f"u{n % 7}", f"i{n % 10}", ts, 5.0 if liked(n) else 1.0) for n, ts in enumerate(times)
    ]
    write_lake(folder, ITEMS, events)
    settings = settings_for(folder, candidates={"exclude_seen": "none"}, **groups)
    return open_tables(settings, settings, date)


def hourly(days):
    return [START + n * dt.timedelta(hours=1) for n in range(24 * days)]


@pytest.mark.parametrize("days, expected", [(100, 89), (10, 8), (3, 2), (2, 1)])
def test_the_last_tenth_of_the_time_is_left(tmp_path, days, expected):
    rows = tables(tmp_path, hourly(days))
    date = suggest_train_date(rows)
    assert date == (START + expected * DAY).date()
    assert len(rows.examples_after(rows.settings.cutoff(date)).label) == 24 * (days - expected)


def test_a_date_begins_in_the_zone(tmp_path):
    paris = {"domain": {"zone": "Europe/Paris", "liked_above": 3}}
    rows = tables(tmp_path, hourly(2), **paris)  # from 01:00 on 1 March to 00:00 on 3 March there
    date = suggest_train_date(rows)
    assert date == dt.date(2026, 3, 2)
    assert len(rows.examples_after(rows.settings.cutoff(date)).label) == 25


def test_only_rows_before_a_date_count(tmp_path):
    rows = tables(tmp_path, hourly(100), (START + 10 * DAY).date())
    assert span_of(rows) == (START, START + 10 * DAY - dt.timedelta(hours=1))
    assert suggest_train_date(rows) == (START + 8 * DAY).date()


def test_a_later_date_where_the_earlier_rows_have_one_class(tmp_path):
    "Dislikes begin on day 92, so that training until day 89 has none, and until day 94 some."
    explicit = {"negatives_from": "explicit", "max_examples": 48}
    rows = tables(tmp_path, hourly(100), liked=lambda n: n < 24 * 92 or n % 2 == 0, train=explicit)
    assert suggest_train_date(rows) == (START + 94 * DAY).date()


@pytest.mark.parametrize(
    "times", [hourly(1), [START, START + 40 * DAY]], ids=["one day", "two rows"]
)
def test_there_may_be_no_such_date(tmp_path, times):
    assert suggest_train_date(tables(tmp_path, times)) is None


def test_rows_from_a_date_on(tmp_path):
    rows = tables(tmp_path, hourly(10))
    since = (START + 5 * DAY).date()
    assert suggest_train_date(rows, since) == since
    assert suggest_train_date(rows, START.date()) is None  # nothing lies before it


def test_a_supplied_test_split_has_its_first_day(tmp_path):
    tables(tmp_path, hourly(3))
    for split, hours in (
        ("train", range(0, 20)),
        ("valid", range(20, 40)),
        ("test", range(60, 70)),
    ):
        columns = {
            "user_id": [f"u{h % 7}" for h in hours],
            "item_id": [f"i{h % 10}" for h in hours],
            "label": pa.array([h % 2 for h in hours], pa.int8()),
            "event_ts": [START + h * dt.timedelta(hours=1) for h in hours],
        }
        write(tmp_path / f"lake/examples/split={split}/0.parquet", columns)
    settings = settings_for(tmp_path)
    rows = open_tables(settings, settings, None)
    assert suggest_train_date(rows) == (START + 2 * DAY).date()
    # rows of items that the catalogue lacks cannot be measured
    columns["item_id"] = ["?"] * 9 + ["i1"]
    write(tmp_path / "lake/examples/split=test/0.parquet", columns)
    last = START + 69 * dt.timedelta(hours=1)
    assert span_of(open_tables(settings, settings, None)) == (last, last)
