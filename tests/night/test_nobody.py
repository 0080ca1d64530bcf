"A date with nobody to score: the message names what is empty, and what widens it."

import datetime as dt

import pytest
from lakes import DAY, START, Event, Item, prepare, settings_for, write_lake

from ccf_batch.data.assemble import Assembly
from ccf_batch.data.database import connect
from ccf_batch.night.preflight import explain_nobody
from ccf_batch.settings import GENERATOR_NAMES

ITEMS = [Item(f"i{n}") for n in range(6)]
EVENTS = [
    Event(f"u{n % 5}", f"i{n % 6}", START + n * dt.timedelta(hours=1), 5.0) for n in range(20)
]


def explained(folder, date, items=ITEMS, events=EVENTS, **groups):
    "The message for a date that has nobody to score."
    write_lake(folder, items, events)
    assembly = Assembly(connect(), settings_for(folder, **groups), date)
    prepared = prepare(assembly)
    assert prepared["users"] == prepared["pairs"] == 0
    message = explain_nobody(assembly, prepared)
    assert message.startswith(f"{folder}/lake: there is nobody to score on {date}: ")
    return message


def test_a_date_before_the_first_event(tmp_path):
    message = explained(tmp_path, START.date())
    assert "no event of an item in the catalogue is known before it" in message
    assert "is of 2026-03-01 00:00:00 UTC; take a later date" in message


def test_a_month_without_an_event_empties_no_window(tmp_path):
    write_lake(tmp_path, ITEMS, EVENTS)
    settings = settings_for(tmp_path, candidates={"exclude_seen": "none"})
    assert prepare(Assembly(connect(), settings, (START + 61 * DAY).date()))["users"] == 5


def test_no_generator_is_switched_on(tmp_path):
    off = dict.fromkeys(GENERATOR_NAMES, 0) | {"exclude_seen": "none"}
    message = explained(tmp_path, (START + DAY).date(), candidates=off)
    assert "no generator offers them anything; check the numbers in [candidates]" in message


def test_nobody_was_active(tmp_path):
    message = explained(tmp_path, (START + 20 * DAY).date(), users={"active_days": 7})
    assert "users without an event in the 7 days before it: 5" in message
    assert "the last event is of 2026-03-01 19:00:00 UTC; widen users.active_days" in message


def test_nothing_was_liked(tmp_path):
    disliked = [Event(e.user, e.item, e.ts, 1.0) for e in EVENTS]
    message = explained(tmp_path, (START + DAY).date(), events=disliked)
    assert "users who liked nothing before it: 5 (check domain.liked_above (now 3))" in message


@pytest.mark.parametrize("until, fix", [(None, "exclude_seen"), (START + DAY / 2, "available_to")])
def test_everything_was_taken_or_is_gone(tmp_path, until, fix):
    items = [Item(item.id, until=until) for item in ITEMS]
    events = [Event("u", item.id, START, 5.0) for item in items]
    message = explained(tmp_path, (START + DAY).date(), items, events)
    assert "users without a candidate: 1 (" in message and fix in message
