"Small runs for tests: shards of made-up rows, published or left unfinished."

import datetime as dt

import pyarrow as pa

from ccf_batch.data.ranked import row_schema
from ccf_batch.night import publish
from ccf_batch.night.run import Run, fingerprint_run, locked
from ccf_batch.settings import Settings

DAY = dt.date(2026, 7, 1)
COLUMNS = row_schema(pa.string(), pa.int64())
MACHINE = {"threads": 2, "dtype": "float32"}
INPUTS = [{"path": "items/a.parquet", "bytes": 8, "mtime_ns": 1, "footer_sha256": "00"}]


def fingerprint(**changed):
    given = {"date": DAY, "inputs": INPUTS, "bundle": "b1", "settings": Settings()} | changed
    return fingerprint_run(**given)


def rows(run, users, k=3):
    "`k` rows for each of `users`, sorted."
    n = len(users) * k
    return pa.table(
        {
            "user_id": [u for u in users for _ in range(k)],
            "item_id": list(range(n)),
            "rank": pa.array(list(range(1, k + 1)) * len(users), pa.int32()),
            "score": pa.array([0.5] * n, pa.float32()),
            "margin": pa.array([None] * n, pa.float32()),
            "source": pa.array(["popular"] * n).dictionary_encode(),
            "reason": ["scored"] * n,
            "bundle": ["b1"] * n,
            "run_id": [run.id] * n,
        }
    )


def users_of(number, n=4):
    return [f"{number}-{u:06d}" for u in range(n)]


def go(root, fp=None, shards=3, stop_after=None, machine=MACHINE, **manifest):
    "A whole run, or one that dies after some shards; the numbers of the shards that it wrote."
    fp = fp or fingerprint()
    wrote = []
    with locked(root, DAY):
        run = Run(root, DAY, fp, machine)
        for k in range(shards):
            if k in run.done:
                continue
            if stop_after is not None and len(wrote) == stop_after:
                return wrote
            with publish.write_shard(run, k, shards, COLUMNS) as out:
                out.write(rows(run, users_of(k)))
                out.counts.update(users=4)
            wrote.append(k)
        publish.publish(run, shards, manifest)
    return wrote


def content(root):
    "Bytes of the published date, by file name."
    return {p.name: p.read_bytes() for p in (root / f"date={DAY}").glob("*.parquet")}
