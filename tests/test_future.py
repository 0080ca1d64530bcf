"Nothing from the cut-off on reaches a bundle or a night: no byte of either changes with it."

import datetime as dt
import random

import duckdb
import pytest
from lakes import DAY, Event, Item, write_lake

from ccf_batch import score, train
from ccf_batch.base.console import main
from ccf_batch.model import bundle

FIRST, NIGHT = dt.datetime(2026, 1, 1), dt.date(2026, 4, 1)
CUTOFF = dt.datetime.combine(NIGHT, dt.time())
ITEMS = [Item(f"i{k:02}") for k in range(30)]
LATER = [Item(f"j{k}", since=CUTOFF) for k in range(5)]
CONFIG = """
[domain]
liked_above = 3
[model]
keep = "always"
hidden = 16
layers = 1
[train]
epochs = 1
[cf]
factors = 3
[score]
threads = 1
memory_limit = "500MB"
[checks]
on_failure = "warn"
"""


def events_of(first, days, seed, items=ITEMS):
    "Ratings of forty users who like every third item, and come back to some."
    dice, out = random.Random(seed), []
    for _ in range(days * 14):
        user, item = dice.randrange(40), min(int(dice.paretovariate(0.7)) - 1, len(items) - 1)
        when = first + dt.timedelta(days=dice.random() * days)
        rating = 5.0 if (user + item) % 3 else 2.0
        out.append(
            Event(f"u{user:02}", items[item].id, when, rating, None, f"e{first:%j}{len(out)}")
        )
    return out


PAST, FUTURE = events_of(FIRST, 90, 1), events_of(CUTOFF, 10, 2, ITEMS + LATER)


def shuffled(events):
    items = random.Random(3).sample([e.item for e in events], len(events))
    return [
        Event(e.user, item, e.ts, e.rating, e.ingested, e.event_id)
        for e, item in zip(events, items, strict=True)
    ]


def arrived_late(events):
    "The same three times over, as of the days before the cut-off, but known only from then on."
    return [
        Event(e.user, e.item, e.ts - 20 * DAY, e.rating, CUTOFF + DAY, f"{e.event_id}-{k}")
        for e in events
        for k in range(3)
    ]


def made(root, items, events):
    "Id of the bundle that is trained, and all rows of the night that is scored with it."
    write_lake(root, items, events)
    (root / "ccf.toml").write_text(CONFIG)
    argv = ["--config", str(root / "ccf.toml"), "--date", str(NIGHT)]
    assert main(train.TrainCommand, train.run, "train", argv=argv) == 0
    assert main(score.ScoreCommand, score.run, "score", argv=argv) == 0
    (path,) = (root / "bundles").glob("2*")
    files = {"files": f"{root}/ranked/date=*/*.parquet"}
    columns = "SELECT user_id, item_id, rank, score, margin, source, reason"
    rows = duckdb.execute(columns + " FROM read_parquet($files) ORDER BY ALL", files)
    return bundle.read(path).id, rows.fetchall()


@pytest.fixture(scope="module")
def with_future(tmp_path_factory):
    return made(tmp_path_factory.mktemp("with"), ITEMS + LATER, PAST + FUTURE)


@pytest.mark.parametrize(
    "items, future",
    [
        (ITEMS, []),
        (ITEMS + LATER, shuffled(FUTURE)),
        (ITEMS + LATER, FUTURE + arrived_late(FUTURE)),
    ],
    ids=["deleted", "permuted", "tripled and arrived late"],
)
def test_what_comes_later_changes_no_byte(with_future, tmp_path, items, future):
    identity, rows = made(tmp_path, items, PAST + future)
    assert len(rows) > 300 and rows == with_future[1]
    assert identity == with_future[0]
