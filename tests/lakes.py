"Small lakes for tests: events and items as rows, written as Parquet tables."

import datetime as dt
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ccf_batch.settings import Settings

DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 3, 1)
MAP = pa.map_(pa.string(), pa.list_(pa.string()))


@dataclass(frozen=True)
class Event:
    user: int | str
    item: int | str
    ts: dt.datetime
    rating: float | None = None
    ingested: dt.datetime | None = None
    event_id: str | None = None


@dataclass(frozen=True)
class Item:
    id: int | str
    since: dt.datetime | None = None
    until: dt.datetime | None = None

    def available(self, at: dt.datetime) -> bool:
        return (self.since is None or self.since <= at) and (self.until is None or at < self.until)


def write(path: Path, rows: dict, **types) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({c: pa.array(v, types.get(c)) for c, v in rows.items()}), path)


def prepare(assembly, limit_users=None) -> dict[str, int]:
    "Build the groups of a night by a ranker that adds up ranks."
    from ccf_batch.candidates.first_stage import first_stage_of
    from ccf_batch.candidates.generators import GENERATORS
    from ccf_batch.candidates.pair_features import columns_of
    from ccf_batch.candidates.ranker import fuse_ranks

    return assembly.prepare(first_stage_of(fuse_ranks(columns_of(GENERATORS))), limit_users)


def write_lake(root: Path, items: list[Item], events: list[Event], supplied=(), date=None) -> None:
    shutil.rmtree(root / "lake", ignore_errors=True)
    time = pa.timestamp("us")
    write(
        root / "lake/items/0.parquet",
        {
            "item_id": [i.id for i in items],
            "title": [f"title of {i.id}" for i in items],
            "attributes": [None] * len(items),
            "available_from": [i.since for i in items],
            "available_to": [i.until for i in items],
        },
        attributes=MAP,
        available_from=time,
        available_to=time,
    )
    days = defaultdict(list)
    for e in events:
        days[e.ts.date()].append(e)
    for day, rows in days.items():
        columns = {
            "user_id": [e.user for e in rows],
            "item_id": [e.item for e in rows],
            "event_ts": [e.ts for e in rows],
            "rating": [e.rating for e in rows],
            "ingested_ts": [e.ingested for e in rows],
            "event_id": [e.event_id for e in rows],
        }
        # optional columns that hold nothing are absent, file by file
        columns = {c: v for c, v in columns.items() if any(x is not None for x in v)}
        write(
            root / f"lake/interactions/date={day}/0.parquet",
            columns,
            event_ts=time,
            ingested_ts=time,
            rating=pa.float64(),
        )
    if supplied:
        columns = dict(
            zip(("user_id", "item_id", "source"), zip(*supplied, strict=True), strict=True)
        )
        write(root / f"lake/candidates/date={date}/0.parquet", columns)


def settings_for(root: Path, **groups) -> Settings:
    s = Settings.model_validate({"domain": {"liked_above": 3}, "cf": {"history": False}} | groups)
    s._workspace = root
    return s
