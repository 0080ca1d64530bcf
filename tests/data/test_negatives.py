"Where negatives come from: dislikes, sampled items or both; and which likes have none."

import datetime as dt

import numpy as np
import pytest
from lakes import DAY, START, Event, Item, settings_for, write_lake

from ccf_batch import ingest, train
from ccf_batch.base.console import main
from ccf_batch.base.errors import InputError
from ccf_batch.base.settings_file import load
from ccf_batch.data.assemble import Assembly
from ccf_batch.data.database import connect
from ccf_batch.data.labels import EXPLICIT_SHARE, OmittedRows, decide_negatives
from ccf_batch.model.fit import read_examples

HOUR = dt.timedelta(hours=1)
SHOP = """
[domain]
noun = "products"
liked_above = 0
[ingest]
interactions = "purchases.csv"
items = "products.csv"
columns = { rating = "Quantity" }
[candidates]
exclude_seen = "none"
"""


def purchases(returned=0, seed=0):
    "1,200 purchases of 80 products by 60 people, the quantity of some of them -1."
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 60, 1200), rng.integers(0, 80, 1200)
    quantity = np.ones(1200, int)
    quantity[rng.choice(1200, returned, replace=False)] = -1
    times = (START + n * HOUR for n in range(1200))
    return [
        (f"u{u}", f"i{i}", ts, q) for u, i, ts, q in zip(user, item, times, quantity, strict=True)
    ]


def shop(folder, rows):
    "A workspace with these purchases, ingested from CSV files."
    lines = "".join(f"{u},{i},{ts:%Y-%m-%d %H:%M:%S},{q}\n" for u, i, ts, q in rows)
    (folder / "purchases.csv").write_text("user_id,item_id,event_ts,Quantity\n" + lines)
    items = "".join(f"i{n},Product {n},2026-01-01 00:00:00\n" for n in range(80))
    (folder / "products.csv").write_text("item_id,title,available_from\n" + items)
    config = folder / "ccf.toml"
    config.write_text(SHOP)
    ingest.run(load(ingest.IngestCommand, config, ["--source", str(folder)]))
    return config


def sizes(assembly):
    "(examples, likes) of both splits."
    batches = {split: assembly.examples(split) for split in ("train", "valid")}
    return {split: (len(b.label), int(b.label.sum())) for split, b in batches.items()}


@pytest.mark.parametrize(
    "returned, source, line",
    [
        (0, "sampled", "sampled (auto: none of 1,200 events is a dislike)"),
        (2, "both", "explicit and sampled (auto: 2 of 1,200 events are dislikes, under 5%)"),
        (24, "both", "explicit and sampled (auto: 24 of 1,200 events are dislikes, under 5%)"),
    ],
    ids=["no returns", "2 returns", "2% returns"],
)
def test_a_few_returns_do_not_switch_sampling_off(tmp_path, returned, source, line):
    rows = purchases(returned)
    assembly = Assembly(connect(), load(config=shop(tmp_path, rows)))
    negatives = assembly.negatives()
    assert (negatives.source, str(negatives)) == (source, line)
    expected = {}
    for split, part in (("train", rows[:1056]), ("valid", rows[1056:])):  # the last six days
        likes = sum(quantity > 0 for *_, quantity in part)
        expected[split] = (5 * likes + len(part) - likes, likes)  # a return is an example, too
        assert 0.19 < likes / expected[split][0] <= 0.2
    assert sizes(assembly) == expected
    if not returned:
        assert expected == {"train": (5280, 1056), "valid": (720, 144)}


@pytest.mark.parametrize("exclude_seen", ["all", "liked", "none"])
def test_sampled_negatives_beside_dislikes_could_have_been_offered(tmp_path, exclude_seen):
    "A sampled negative is no item of that moment, and none that the night would have left out by then."
    rows = purchases(returned=240)
    flags = ["--candidates.exclude-seen", exclude_seen, "--train.negatives-from", "both"]
    assembly = Assembly(connect(), load(config=shop(tmp_path, rows), flags=flags))
    batch = assembly.examples("train")
    item_id, first, had = assembly.catalogue().item_id.to_pylist(), {}, 0
    for user, item, ts, quantity in rows:
        if exclude_seen == "all" or (exclude_seen == "liked" and quantity > 0):
            first.setdefault((user, item), ts)
    taken = {(user, item): ts for user, item, ts, _ in reversed(rows)}  # for the first time
    events = {(user, item, ts): quantity for user, item, ts, quantity in rows}
    sampled = 0
    users = batch.user_id.take(batch.group_of).to_pylist()
    columns = (users, batch.candidate, batch.label, batch.event_ts.tolist())
    for user, row, label, ts in zip(*columns, strict=True):
        quantity = events.get((user, item_id[row], ts))
        if quantity is not None:
            assert label == (quantity > 0)
            assert first.get((user, item_id[row]), ts) >= ts  # no repeat
            continue
        sampled += 1
        assert label == 0 and first.get((user, item_id[row]), ts + DAY) > ts
        had += taken.get((user, item_id[row]), ts) < ts
    assert sampled == 4 * batch.label.sum()
    assert (had > 0) == (exclude_seen != "all")
    assert (assembly.omitted.repeats > 0) == (exclude_seen != "none")


@pytest.mark.parametrize(
    "dislikes, source", [(0, "sampled"), (1, "both"), (59, "both"), (60, "explicit")]
)
def test_the_share_of_dislikes_decides(dislikes, source):
    assert EXPLICIT_SHARE == 0.05
    assert decide_negatives("auto", 1200, 1200 - dislikes).source == source
    for setting in ("explicit", "sampled", "both"):
        assert decide_negatives(setting, 1200, 1200 - dislikes).source == setting


def test_a_setting_decides_against_the_share(tmp_path):
    rows = purchases(returned=24)
    config = shop(tmp_path, rows)
    likes = sum(quantity > 0 for *_, quantity in rows[:1056])
    for setting, expected in (
        ("explicit", (1056, likes)),
        ("both", (4 * likes + 1056, likes)),
    ):
        settings = load(config=config, flags=["--train.negatives-from", setting])
        assert sizes(Assembly(connect(), settings))["train"] == expected
    assembly = Assembly(connect(), load(config=config, flags=["--train.negatives-from", "sampled"]))
    batch = assembly.examples("train")
    assert assembly.omitted == OmittedRows(dislikes=24)
    assert len(batch.label) == 5 * batch.label.sum()
    assert str(assembly.negatives()) == (
        "sampled (train.negatives_from; 24 of 1,200 events are dislikes)"
    )
    after = assembly.examples_after(START)
    assert assembly.omitted == OmittedRows(dislikes=24)
    assert (len(after.label), after.label.sum()) == (5 * 1176, 1176)


def with_bot(events=11_000):
    "1,200 purchases of 60 people, and a program that takes all 80 products, each again and again."
    people = [Event(user, item, ts) for user, item, ts, _ in purchases()]
    minute = 1200 * HOUR / events
    bot = [Event("bot", f"i{n % 80}", START + n * minute) for n in range(events)]
    return [Item(f"i{n}", START) for n in range(80)], people + bot


def test_a_bot_that_has_taken_everything_teaches_nothing(tmp_path):
    "Its first round counts, as far as something was left to tell it from; what it repeats is no example."
    items, events = with_bot()
    write_lake(tmp_path, items, events)
    assembly = Assembly(connect(), settings_for(tmp_path))
    batch, omitted = assembly.examples("train"), assembly.omitted
    valid = assembly.examples("valid")
    first_round = sum(user == "bot" for user in batch.user_id.to_pylist())
    repeats = 1200 - len({(user, item) for user, item, *_ in purchases()})
    assert omitted.repeats == 11_000 - 80 + repeats
    assert 0 < omitted.unpaired == 80 - first_round < 10
    assert "bot" not in valid.user_id.to_pylist()
    for part in (batch, valid):
        assert part.label.mean() == pytest.approx(0.2, abs=0.01)


def test_a_bot_that_may_take_everything_again_has_a_limit(tmp_path):
    items, events = with_bot()
    write_lake(tmp_path, items, events)
    again = {"candidates": {"exclude_seen": "none"}}
    assembly = Assembly(connect(), settings_for(tmp_path, **again))
    batch = assembly.examples("train")
    assert assembly.omitted == OmittedRows(of_user=11_000 - 2_000)  # by train.max_examples_per_user
    assert batch.label.mean() == pytest.approx(0.2)  # negatives are found even so
    many = {"max_examples_per_user": 100_000}
    assembly = Assembly(connect(), settings_for(tmp_path, train=many, **again))
    assembly.examples("train")
    assert assembly.omitted == OmittedRows()


def test_the_newest_of_a_user_count(tmp_path):
    "Users with as many events as allowed keep all; of others the newest are kept, dislikes too."
    events = [
        Event(user, item, START + n * HOUR, rating)
        for user, count in (("a", 10), ("b", 11), ("c", 30))
        for n, item, rating in ((n, f"i{n % 7}", 1.0 + 4 * (n % 2)) for n in range(count))
    ]
    write_lake(tmp_path, [Item(f"i{n}") for n in range(7)], events)
    limit = {"max_examples_per_user": 10}
    settings = settings_for(tmp_path, train=limit, candidates={"exclude_seen": "none"})
    assembly = Assembly(connect(), settings)
    valid, batch = assembly.examples("valid"), assembly.examples("train")
    assert assembly.omitted == OmittedRows(of_user=21)
    found = {user: [] for user in "abc"}
    for part in (batch, valid):
        users = part.user_id.take(part.group_of).to_pylist()
        for user, ts in zip(users, part.event_ts.tolist(), strict=True):
            found[user].append((ts - START) // HOUR)
    assert {user: sorted(hours) for user, hours in found.items()} == {
        "a": list(range(10)),
        "b": list(range(1, 11)),
        "c": list(range(20, 30)),
    }


def test_train_says_where_negatives_come_from_and_what_is_left_out(tmp_path, capsys):
    items, events = with_bot()
    write_lake(tmp_path, items, events)
    settings = settings_for(tmp_path)
    read_examples(Assembly(connect(), settings), "train", settings)
    out = capsys.readouterr().out
    assert (
        "repeats left out: the night would not offer the item again (candidates.exclude_seen)"
        in out
    )
    assert "likes left out: no negative could be sampled for them" in out
    settings = settings_for(tmp_path, candidates={"exclude_seen": "none"})
    read_examples(Assembly(connect(), settings), "train", settings)
    out = capsys.readouterr().out
    assert "9,000 older ones of busy users left out (train.max_examples_per_user)" in out
    assert "an AUC of 0." in out and "(candidates.exclude_seen = none)" in out
    assert "warning" not in out


@pytest.mark.parametrize("disliked, warned", [(2, True), (24, False)])
def test_a_rare_class_is_said(tmp_path, capsys, disliked, warned):
    config = shop(tmp_path, purchases(disliked))
    settings = load(config=config, flags=["--train.negatives-from", "explicit"])
    assembly = Assembly(connect(), settings)
    capsys.readouterr()
    read_examples(assembly, "train", settings)
    dislikes = assembly.examples("train").label.size - assembly.examples("train").label.sum()
    warning = f"warning: {dislikes} of the 1,056 train examples are dislikes, under 1%"
    assert (warning in capsys.readouterr().out) == warned


def refusal(tmp_path, items, events, split="train", date=None, **groups):
    "The message of `read_examples`."
    write_lake(tmp_path, items, events)
    settings = settings_for(tmp_path, **groups)
    with pytest.raises(InputError) as stop:
        read_examples(Assembly(connect(), settings, date), split, settings)
    return str(stop.value)


def test_where_all_was_taken_the_cause_is_named(tmp_path):
    unset = {"domain": {"liked_above": None}, "candidates": {"exclude_seen": "none"}}
    one = [Event("u", "i", START + n * HOUR) for n in range(50)]
    message = refusal(tmp_path, [Item("i")], one, **unset)
    assert "no negative can be sampled for the train examples" in message
    assert "(1 user, 1 item with events)" in message and "both likes" not in message
    # everything in one basket, after which nothing is left
    rows = [Event(u, i, START + n * HOUR) for n in range(9) for u in "vw" for i in "abc"]
    message = refusal(tmp_path, [Item(i) for i in "abc"], rows, **unset)
    assert "(2 users, 3 items with events)" in message
    # the same beside a few dislikes, which are examples but tell nothing about likes
    few = [*rows, Event("x", "a", START + 9 * HOUR, 1.0)]
    message = refusal(tmp_path, [Item(i) for i in "abc"], few, candidates={"exclude_seen": "none"})
    assert "no negative can be sampled for the train examples" in message
    # one by one, then again: what is repeated is no example, and said so
    rows = [Event("u", "i", START + n * HOUR) for n in range(50)]
    message = refusal(tmp_path, [Item("i")], rows, domain={"liked_above": None})
    assert "49 events repeat earlier ones of the same user and item" in message
    assert "candidates.exclude_seen = all does not offer these again" in message


def test_a_missing_class_has_its_own_fix(tmp_path):
    items = [Item(f"i{n}") for n in range(9)]
    again = {"candidates": {"exclude_seen": "none"}}
    liked = [Event("u", f"i{n % 9}", START + n * HOUR, 5.0) for n in range(40)]
    disliked = [Event("u", f"i{n % 9}", START + n * HOUR, 1.0) for n in range(40)]
    message = refusal(tmp_path, items, disliked, **again)
    assert "0 are likes; both likes and dislikes are needed" in message
    assert "check domain.liked_above (now 3)" in message
    message = refusal(tmp_path, items, liked, train={"negatives_from": "explicit"}, **again)
    assert "set train.negatives_from to both" in message and "liked_above" not in message
    # dislikes are there, but none of them is among the newest
    message = refusal(tmp_path, items, disliked[:20] + liked[20:], "valid", **again)
    assert "explicit (auto: 20 of 40 events are dislikes, at least 5%)" in message
    # no like is among the newest, which no other source of negatives changes
    message = refusal(tmp_path, items, liked[:20] + disliked[20:], "valid", **again)
    assert "0 are likes" in message and "Take a later date" in message
    message = refusal(tmp_path, items, liked, date=START.date())
    assert "no event is known before 2026-03-01" in message


def test_train_names_the_cause(tmp_path, capsys):
    one = [Event("u", "i", START + n * HOUR) for n in range(50)]
    write_lake(tmp_path, [Item("i")], one)
    (tmp_path / "ccf.toml").write_text(
        'candidates.exclude_seen = "none"\ntrain.loss = "pointwise"\n'
    )
    flags = ["--config", str(tmp_path / "ccf.toml")]
    assert main(train.TrainCommand, train.run, "train", argv=flags) == 2
    captured = capsys.readouterr()
    assert "negatives: sampled (auto: none of 50 events is a dislike)" in captured.out
    assert "(1 user, 1 item with events)" in captured.err
    assert "liked_above (now" not in captured.err
