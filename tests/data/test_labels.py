"Labelled rows tell nothing by the way they were made: repeats, days of validation, unknown users."

import datetime as dt

import numpy as np
import pytest
from lakes import DAY, START, Event, Item, settings_for, write_lake

from ccf_batch import ingest
from ccf_batch.base.settings_file import load
from ccf_batch.data.assemble import Assembly
from ccf_batch.data.database import connect
from ccf_batch.data.labels import VALID_USERS, HadBefore, Unknown, Validation, choose_validation
from ccf_batch.metrics import auc
from ccf_batch.model.fit import read_examples
from ccf_batch.settings import Settings

HOUR = dt.timedelta(hours=1)


def purchases(count=6_000, seed=0):
    "Purchases of 300 people, four of ten of something that they had; the quantity of a tenth is -1."
    rng = np.random.default_rng(seed)
    had = {user: [] for user in range(300)}
    for n in range(count):
        user = int(rng.integers(300))
        again = had[user] and rng.random() < 0.4
        item = int(rng.choice(had[user]) if again else 400 * rng.random() ** 2)
        had[user].append(item)
        yield Event(user, item, START + n * HOUR / 8, -1.0 if rng.random() < 0.1 else 1.0)


def had_before(assembly, batch):
    "Of each row: whether its user had an event with the item before. Counted apart from the statements."
    item_id = assembly.catalogue().item_id.to_pylist()
    table = assembly.con.execute(
        "SELECT user_id, item_id, min(event_ts) FROM assembly.events JOIN assembly.users USING (user_row) "
        "JOIN assembly.items USING (item_row) GROUP BY ALL"
    )
    first = {(user, item): ts for user, item, ts in table.fetchall()}
    users = batch.user_id.take(batch.group_of).to_pylist()
    rows = zip(users, batch.candidate, batch.event_ts.tolist(), strict=True)
    return np.array([first.get((u, item_id[r]), ts) < ts for u, r, ts in rows])


def bit_of_raw_likes(assembly):
    "AUC of the bit if all likes were positives, and negatives were items that nobody had: the old rows."
    likes, before = assembly.con.execute(
        "SELECT count(*), count(*) FILTER (event_ts > first_ts) FROM (SELECT liked, event_ts, min(event_ts) OVER "
        "(PARTITION BY user_row, item_row) AS first_ts FROM assembly.events) WHERE liked"
    ).fetchone()
    return HadBefore(likes, before, 1, 0).auc


def check_bit(assembly, split, exclude_seen):
    "Returns the AUC of the bit."
    batch = assembly.examples(split)
    bit = had_before(assembly, batch)
    found = auc(batch.label, bit.astype(float))
    assert found == pytest.approx(assembly.had_before.auc)
    if exclude_seen == "all":
        assert not bit.any() and found == 0.5
    told = assembly.had_before.sentences(exclude_seen)
    assert bool(told) == bit.any()
    if told:  # the rows say so
        assert any(f"an AUC of {found:.3f} by that alone" in note for note in assembly.notes())
    return found


@pytest.mark.parametrize("negatives", ["sampled", "both"])
@pytest.mark.parametrize("exclude_seen", ["all", "liked", "none"])
def test_whether_a_user_had_an_item_tells_nothing_of_the_label(tmp_path, exclude_seen, negatives):
    "In a shop where four purchases of ten are repeats; where these are offered again, the rows say why not."
    write_lake(tmp_path, [Item(i, START) for i in range(400)], list(purchases()))
    settings = settings_for(
        tmp_path,
        domain={"liked_above": 0},
        candidates={"exclude_seen": exclude_seen},
        train={"negatives_from": negatives},
    )
    assembly = Assembly(connect(), settings)
    for split in ("train", "valid"):
        found = check_bit(assembly, split, exclude_seen)
        assert bit_of_raw_likes(assembly) > 0.65
        if exclude_seen == "liked":
            assert found == pytest.approx(0.5, abs=0.02)
        if exclude_seen == "none":  # people return to what they had more often than chance draws it
            assert 0.6 < found < bit_of_raw_likes(assembly)
    # rows to measure are made by the same rules
    after = assembly.examples_after(START + 20 * DAY)
    assert auc(after.label, had_before(assembly, after).astype(float)) == assembly.had_before.auc
    if exclude_seen == "all":
        assert assembly.had_before.auc == 0.5


@pytest.mark.shared
@pytest.mark.parametrize("exclude_seen", ["all", "liked", "none"])
def test_the_bit_in_a_real_shop(shared, tmp_path, exclude_seen):
    "Purchases before a choosing cut; 33% of them repeat."
    config = tmp_path / "ccf.toml"
    config.write_text(RETAIL.replace("none", exclude_seen))
    ingest.run(load(ingest.IngestCommand, config, ["--source", str(shared / "retail-uci")]))
    assembly = Assembly(connect(), load(Settings, config), dt.date(2011, 5, 1))
    found = check_bit(assembly, "valid", exclude_seen)
    raw = bit_of_raw_likes(assembly)
    assert raw > 0.56
    assert (found == 0.5) == (exclude_seen != "none")  # there are no dislikes: liked is all


RETAIL = """
candidates.exclude_seen = "none"
[ingest]
interactions = "interactions.parquet"
items = "items.parquet"
columns = { price = "price_gbp" }
"""


def test_a_repeated_rating_is_no_example_of_either_class(tmp_path):
    "Explicit ratings, too: what the night would not offer is not trained on, liked or disliked."
    a, b, c = (Event("u", item, START, 5.0) for item in "abc")
    again = [Event("u", "a", START + HOUR, 1.0), Event("u", "b", START + HOUR, 5.0)]
    disliked = [Event("u", "d", START, 1.0), Event("u", "d", START + HOUR, 5.0)]
    write_lake(tmp_path, [Item(i) for i in "abcd"], [a, b, c, *again, *disliked])
    rows = {}
    for exclude_seen in ("all", "liked", "none"):
        settings = settings_for(
            tmp_path,
            candidates={"exclude_seen": exclude_seen},
            train={"negatives_from": "explicit"},
        )
        assembly = Assembly(connect(), settings)
        batch = assembly.examples_after(START)
        rows[exclude_seen] = len(batch.candidate), int(batch.label.sum()), assembly.omitted.repeats
    assert rows == {"all": (4, 3, 3), "liked": (5, 4, 2), "none": (7, 5, 0)}


def test_one_moment_counts_an_item_once(tmp_path):
    "Two lines of one invoice with one product are one example, where repeats are none."
    twice = [Event("u", "a", START, 5.0, None, f"e{n}") for n in range(2)]
    write_lake(tmp_path, [Item(i) for i in "ab"], [*twice, Event("v", "b", START, 5.0)])
    for exclude_seen, likes in (("all", 2), ("none", 3)):
        settings = settings_for(tmp_path, candidates={"exclude_seen": exclude_seen})
        batch = Assembly(connect(), settings).examples_after(START)
        assert batch.label.sum() == likes


def test_an_item_is_no_negative_before_it_existed(tmp_path):
    "It exists from `available_from`, else from its first event."
    items = [Item("old", START - DAY), Item("first"), Item("late"), Item("later", START + 5 * DAY)]
    events = [Event(f"u{n}", "first", START + n * HOUR) for n in range(48)]
    events += [Event("v", i, START + 2 * DAY) for i in ("old", "late")]
    events += [Event("w", "later", START + 5 * DAY)]
    write_lake(tmp_path, items, events)
    settings = settings_for(tmp_path, domain={"liked_above": None})
    assembly = Assembly(connect(), settings)
    batch = assembly.examples_after(START)
    item_id = assembly.catalogue().item_id.to_pylist()
    drawn = {"late": [], "later": [], "old": []}
    for row, label, ts in zip(batch.candidate, batch.label, batch.event_ts.tolist(), strict=True):
        if not label and item_id[row] in drawn:
            drawn[item_id[row]].append(ts)
    assert min(drawn["old"]) == START
    assert min(drawn["late"], default=START + 9 * DAY) >= START + 2 * DAY
    assert min(drawn["later"], default=START + 9 * DAY) >= START + 5 * DAY


@pytest.mark.parametrize("likes, newest", [(None, 1), (50, 1), (50, 2_000), (10**6, 1)])
def test_max_examples_of_the_encoder_counts_likes(tmp_path, capsys, likes, newest):
    "Not the negatives that are sampled for them; and never fewer rows than the language model's."
    events = list(purchases(1_200))
    write_lake(tmp_path, [Item(i, START) for i in range(400)], events)
    settings = settings_for(
        tmp_path,
        domain={"liked_above": None},
        candidates={"exclude_seen": "none"},
        cf={"max_examples": likes},
        train={"max_examples": newest},
    )
    assembly = Assembly(connect(), settings)
    train = read_examples(assembly, "train", settings)
    valid = assembly.examples("valid")
    kept = min(1_200, max(likes or 1_200, newest // 5))
    assert train.label.sum() + valid.label.sum() == kept
    cut = f"{1_200 - kept:,} older ones left out (cf.max_examples)"
    assert (cut in capsys.readouterr().out) == (kept < 1_200)


def validation(times, users, settings=None, most=10**6):
    "The validation of rows at these times, oldest first."
    times, users = np.array(times, "datetime64[us]")[::-1], np.array(users)[::-1]
    total = len(np.unique(users))
    return choose_validation(times, users, len(times), total, settings or Settings(), most)


@pytest.mark.quick
def test_validation_is_whole_days_with_enough_users():
    day = np.timedelta64(1, "D")
    times = np.datetime64("2026-03-01T09:00") + np.repeat(np.arange(100), 40) * day
    few = np.tile(np.arange(40), 100)
    found = validation(times, few)
    assert found == Validation(dt.datetime(2026, 5, 29), True, 40, 13)  # a tenth: 11 days
    many = np.arange(4_000)  # a new user in each row: 300 of them in 8 days, a tenth in 11
    assert validation(times, many) == found._replace(users=440, enough_users=VALID_USERS)
    slow = np.arange(4_000) // 4  # ten users a day: thirty days have 300, and are under a third
    found = validation(times, slow)
    assert (found.users, found.sentences()) == (300, []) and found.since == dt.datetime(2026, 5, 10)
    found = validation(times, slow, most=1_000)
    assert found.users == 250 and "250 users, under 300" in found.sentences()[0]


@pytest.mark.quick
def test_a_day_of_its_own_does_not_validate():
    times = np.datetime64("2026-03-01T00:00") + np.arange(600) * np.timedelta64(1, "m")
    found = validation(times, np.arange(600) % 50)
    assert not found.whole_days and found.since == dt.datetime(2026, 3, 1, 8, 59)
    assert "the newest tenth of the rows" in found.sentences()[0]


@pytest.mark.quick
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_days_begin_in_the_zone(zone):
    settings = Settings(domain={"zone": zone})
    times = np.datetime64("2026-03-01T00:30") + np.arange(2_000) * np.timedelta64(1, "h")
    found = validation(times, np.arange(2_000) % 50, settings)
    assert found.whole_days
    assert found.since == settings.cutoff(settings.date_after(found.since) - DAY)


def test_training_names_rows_users_and_days(tmp_path, capsys):
    events = list(purchases(3_000))
    write_lake(tmp_path, [Item(i) for i in range(400)], events)
    settings = settings_for(tmp_path, domain={"liked_above": 0})
    batch = read_examples(Assembly(connect(), settings), "valid", settings)
    users = len(set(batch.user_id.to_pylist()))
    first, last = batch.event_ts.min().item().date(), batch.event_ts.max().item().date()
    said = f"valid: {len(batch.candidate):,} examples of {users} users, {first} to {last}"
    assert said in capsys.readouterr().out
    assert users >= 100 and first < last


@pytest.mark.quick
def test_many_unknown_users_get_a_warning():
    assert len(Unknown(0.2, 0.2).sentences()) == 1
    told, warning = Unknown(0.35, 0.1).sentences()
    assert told.startswith("35.0% of the groups are of users and 10.0% of the candidates are items")
    assert warning.startswith(
        "warning: 35.0% of the groups are of users without a training row, over 20%"
    )
