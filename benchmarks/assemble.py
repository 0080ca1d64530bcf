"""Histories and candidates of all users, from synthetic interactions.

    python benchmarks/assemble.py [--quick] [--memory-limit 4GB] --out FILE.json

1, 10, 30 and 100 million likes over 90 days, 100 a user, of 20,000 items with Zipf popularity. Measured is
what a night does before it scores: the tables as of the date, each generator made (`GENERATORS` below:
those whose cost grows with the likes; EASE is for small catalogues), what they offer a user, put in order
by a ranker that adds up ranks, the best 50 with histories of 10 kept in a database file and streamed back
as arrays. Every size runs in a process of its own, for its peak memory; writing the input is not
counted. Nothing is reused between runs, but the input may be in the page cache, as it was just
written.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

from ccf_batch.base.fingerprint import describe_machine, versions

DATE = dt.date(2026, 4, 1)  # the day after the 90 days


def write(folder: Path, interactions: int) -> None:
    "The tables."
    from ccf_batch.data.database import connect, execute

    lake = folder / "lake"
    (lake / "items").mkdir(parents=True)
    con = connect(folder / "write.duckdb", "2GB")
    execute(con, "benchmarks/items", file=str(lake / "items/items.parquet"))
    execute(
        con, "benchmarks/interactions", interactions=interactions, folder=str(lake / "interactions")
    )


GENERATORS = ("repeat", "covisited", "neighbours", "popular", "trending", "new", "factors")


def measure(folder: Path, interactions: int, memory_limit: str, row) -> None:
    "Assemble everything and put what it took on the queue `row`."
    from ccf_batch.candidates import pair_features
    from ccf_batch.candidates.first_stage import first_stage_of
    from ccf_batch.candidates.pair_features import columns_of
    from ccf_batch.candidates.ranker import fuse_ranks
    from ccf_batch.data.assemble import Assembly
    from ccf_batch.data.database import connect
    from ccf_batch.settings import GENERATOR_NAMES, Settings

    seconds = {}

    def timed(name, make):
        def make_and_time(past):
            start = time.perf_counter()
            made = make(past)
            seconds[name] = round(time.perf_counter() - start, 2)
            return made

        return make_and_time

    made = pair_features.GENERATORS
    pair_features.GENERATORS = {name: timed(name, make) for name, make in made.items()}
    off = dict.fromkeys(set(GENERATOR_NAMES) - set(GENERATORS), 0)
    settings = Settings(
        cf={"history": False}, candidates=off
    )  # histories are what the prompt shows
    settings._workspace = folder
    start = time.perf_counter()
    con = connect(folder / "assemble.duckdb", memory_limit)
    assembly = Assembly(con, settings, DATE)
    counts = assembly.prepare(first_stage_of(fuse_ranks(columns_of(GENERATORS))))
    prepared = time.perf_counter()
    pairs = histories = 0
    for shard in range(assembly.shards):
        for batch in assembly.batches(shard):
            pairs += len(batch.candidate)
            histories += len(batch.history)
    done = time.perf_counter()
    assert pairs == counts["pairs"] and histories == 10 * counts["users"]
    row.put(
        {
            "interactions": interactions,
            "users": counts["users"],
            "pairs": pairs,
            "seconds": round(done - start, 2),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "seconds_streaming": round(done - prepared, 2),
            "seconds_of_generators": seconds,  # `covisited` counts the pairs for `neighbours` as well
            "memory_limit": memory_limit,
            "database_mb": round((folder / "assemble.duckdb").stat().st_size / 2**20),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="half a million interactions only")
    parser.add_argument("--memory-limit", default="4GB", help="DuckDB's")
    parser.add_argument("--interactions", type=int, nargs="*", help="other sizes")
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    args = parser.parse_args()
    all_sizes = [1_000_000, 10_000_000, 30_000_000, 100_000_000]
    sizes = args.interactions or ([500_000] if args.quick else all_sizes)

    rows = []
    spawn = multiprocessing.get_context("spawn")
    for interactions in sizes:
        with tempfile.TemporaryDirectory() as folder:
            queue = spawn.Queue()
            for work in (
                spawn.Process(target=write, args=(Path(folder), interactions)),
                spawn.Process(
                    target=measure, args=(Path(folder), interactions, args.memory_limit, queue)
                ),
            ):
                work.start()
                work.join()
                if work.exitcode:
                    raise SystemExit(f"{interactions:,} interactions: exit code {work.exitcode}")
            rows.append(queue.get())
            print(rows[-1], flush=True)

    result = {
        "machine": describe_machine(),
        "versions": versions(("duckdb", "implicit", "numpy", "pyarrow", "scipy")),
        "rows": rows,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
