"Where a date begins, in zones whose clocks do odd things; and what that makes of histories."

import datetime as dt
import zoneinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lakes import Event, Item, prepare, write_lake
from properties import examples

from ccf_batch.data.assemble import Assembly
from ccf_batch.data.database import connect
from ccf_batch.evaluation.holdout import day_of
from ccf_batch.settings import Settings

DAY, SECOND = dt.timedelta(days=1), dt.timedelta(seconds=1)
ODD = [
    "Africa/Cairo",
    "America/Goose_Bay",  # until 2011 clocks changed at 00:01, back into the day before
    "America/Havana",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Atlantic/Azores",
    "Australia/Lord_Howe",  # by half an hour
    "Europe/Berlin",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kwajalein",
]
# dates that a zone left out when it crossed the date line
SKIPPED = {
    ("Pacific/Apia", dt.date(2011, 12, 30)),
    ("Pacific/Fakaofo", dt.date(2011, 12, 30)),
    ("Pacific/Kiritimati", dt.date(1994, 12, 31)),
    ("Pacific/Kanton", dt.date(1994, 12, 31)),
    ("Pacific/Enderbury", dt.date(1994, 12, 31)),
    ("Pacific/Kwajalein", dt.date(1993, 8, 21)),
    ("Kwajalein", dt.date(1993, 8, 21)),
}


def settings(zone):
    return Settings.model_validate({"domain": {"zone": zone}})


def local(zone, instant):
    return instant.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


@pytest.mark.parametrize(
    "zone, date, begins, hours",
    [
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00", 25),
        ("America/New_York", "2026-03-08", "2026-03-08T05:00", 23),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00", 25),
        # no midnight: clocks jump from 00:00 to 01:00
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00", 23),
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00", 23),
        ("Asia/Beirut", "2022-03-27", "2022-03-26T22:00", 23),
        # two midnights: at 01:00 clocks go back to 00:00; the first one counts
        ("America/Havana", "2026-11-01", "2026-11-01T04:00", 25),
        ("Atlantic/Azores", "2026-10-25", "2026-10-25T00:00", 25),
        # clocks go back to 23:00 as midnight comes: the day before has 25 hours
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00", 25),
        ("America/Sao_Paulo", "2018-02-18", "2018-02-18T03:00", 24),
        # odd offsets
        ("Asia/Kathmandu", "2026-07-01", "2026-06-30T18:15", 24),
        ("Pacific/Chatham", "2026-09-27", "2026-09-26T11:15", 23),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00", 24.5),
        # no such date
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00", 24),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00", 0),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00", 24),
    ],
)
def test_where_a_date_begins_and_how_long_it_is(zone, date, begins, hours):
    s, date = settings(zone), dt.date.fromisoformat(date)
    assert s.cutoff(date) == dt.datetime.fromisoformat(begins)
    assert s.cutoff(date + DAY) - s.cutoff(date) == dt.timedelta(hours=hours)
    if hours:
        assert local(zone, s.cutoff(date)).date() == date
        assert local(zone, s.cutoff(date) - SECOND).date() < date


zones = st.one_of(st.sampled_from(ODD), st.sampled_from(sorted(zoneinfo.available_timezones())))
instants = st.datetimes(dt.datetime(1970, 1, 3), dt.datetime(2037, 12, 29))


@pytest.mark.quick
@examples(500)
@given(zones, instants)
def test_every_instant_is_of_one_date(zone, instant):
    s = settings(zone)
    night = s.date_after(instant)
    # half-open: of this date, and neither of the one before nor of the one after
    assert s.cutoff(night - DAY) <= instant < s.cutoff(night)
    assert abs(night - DAY - local(zone, instant).date()) <= (
        DAY if instant.year < 2012 else dt.timedelta(0)
    )
    # dates follow each other; only one that a zone left out is empty
    around = [night + k * DAY for k in range(-3, 4)]
    for date in around:
        length = s.cutoff(date + DAY) - s.cutoff(date)
        if (zone, date) in SKIPPED:
            assert not length
        else:
            assert dt.timedelta(hours=16) < length < dt.timedelta(hours=32)
    assert day_of(s.cutoff(night), s) <= night < day_of(s.cutoff(night) + SECOND, s)


def test_an_instant_in_the_repeated_hour_has_the_date_of_its_time_not_of_its_clock():
    # St. John's, 2010: at 00:01 on 7 November clocks went back to 23:01 on the 6th
    s = settings("America/St_Johns")
    midnight = dt.datetime(2010, 11, 7, 2, 30)
    assert s.cutoff(dt.date(2010, 11, 7)) == midnight
    again = midnight + dt.timedelta(minutes=30)
    assert local("America/St_Johns", again).date() == dt.date(2010, 11, 6)
    assert s.date_after(again) == dt.date(2010, 11, 8)  # the 7th would not know it


@pytest.mark.parametrize(
    "zone, date",
    [
        ("Europe/Berlin", "2026-03-29"),
        ("Europe/Berlin", "2026-03-30"),
        ("Europe/Berlin", "2026-10-26"),
        ("America/New_York", "2026-11-02"),
        ("America/Sao_Paulo", "2018-11-04"),
        ("America/Havana", "2026-11-01"),
        ("Asia/Kathmandu", "2026-07-01"),
        ("Pacific/Apia", "2011-12-31"),
    ],
)
def test_what_is_known_at_a_midnight(tmp_path, zone, date):
    "Events a second on either side of the cut-off, through the tables and the SQL."
    s = settings(zone)
    s._workspace = tmp_path
    date = dt.date.fromisoformat(date)
    cutoff = s.cutoff(date)
    # on the last day before, the two instants of a repeated hour, or of any hour
    hour = cutoff - dt.timedelta(hours=22)
    times = {
        "long before": cutoff - 3 * DAY,
        "an hour": hour,
        "the hour after": hour + dt.timedelta(hours=1),
        "a second before": cutoff - SECOND,
        "at": cutoff,
        "a second after": cutoff + SECOND,
    }
    events = [Event(1, item, ts) for item, ts in times.items()]
    events += [Event(2, "offered", cutoff - 4 * DAY)]
    write_lake(tmp_path, [Item(item) for item in [*times, "offered"]], events)
    found = {}
    for night in (date, None):
        assembly = Assembly(connect(), s, night)
        prepare(assembly)
        items = assembly.catalogue().item_id.to_pylist()
        (batch,) = assembly.batches(0, 10)
        first = batch.user_id.to_pylist().index(1)
        rows = batch.history[slice(*batch.history_offsets[first : first + 2])]
        found[night] = assembly.date, [items[row] for row in rows]
    before = list(times)[:4]
    assert found[date] == (date, before)
    # without a date: the night that knows all of it, which is no later than it must be
    default, known = found[None]
    assert default == date + DAY and known == list(times)
    # an event of the night before is of that night alone
    days = (s.cutoff(date - k * DAY) for k in (1, 2))  # where it was left out, the one before it
    yesterday = next(begins for begins in days if begins < cutoff)
    assert [k for k in before if yesterday <= times[k]] == before[1:]


def test_available_as_of_the_cut_off_of_the_zone(tmp_path):
    "An item that is taken away at a local midnight in summer time is not offered from then on."
    s = settings("Europe/Berlin")
    s._workspace = tmp_path
    date = dt.date(2026, 3, 30)  # the first midnight of summer time: 22:00 UTC
    cutoff = dt.datetime(2026, 3, 29, 22)
    items = [
        Item("stays"),
        Item("goes", until=cutoff),
        Item("came", since=cutoff),
        Item("comes", since=cutoff + SECOND),
        Item("liked"),
    ]
    write_lake(tmp_path, items, [Event(1, "liked", cutoff - 2 * SECOND)])
    catalogue = Assembly(connect(), s, date).catalogue()
    available = dict(zip(catalogue.item_id.to_pylist(), catalogue.available.tolist(), strict=True))
    assert available == {"stays": True, "goes": False, "came": True, "comes": False, "liked": True}
