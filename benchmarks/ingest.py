"""A lake out of CSV files whose headers differ.

    python benchmarks/ingest.py [--quick] [--memory-limit 2GB] --out FILE.json

5 and 50 million rows in 20 files of three different headers: with and without labels, with and without
ids of events; one row in a hundred is repeated. Measured is the whole command `ingest`, in a process of
its own for its peak memory. Writing the files is not counted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

from ccf_batch.base.fingerprint import describe_machine, versions

FILES = 20
COMMON = ["user_id", "item_id", "event_ts"]
HEADERS = (COMMON, [*COMMON, "label"], [*COMMON, "label", "event_id"])
TOML = """
[attributes]
categorical = ["genre"]
[ingest]
interactions = "part-*.csv"
items = "items.csv"
[score]
threads = 2
"""


def write(folder: Path, rows: int) -> None:
    "The files, and settings that name them."
    from ccf_batch.data.database import connect, execute

    con = connect(folder / "write.duckdb", "2GB")
    execute(con, "benchmarks/csv_items", file=str(folder / "items.csv"))
    for n in range(FILES):
        execute(
            con,
            "benchmarks/csv_part",
            first=rows * n // FILES,
            last=rows * (n + 1) // FILES,
            columns=HEADERS[n % len(HEADERS)],
            file=str(folder / f"part-{n:02}.csv"),
        )
    (folder / "ccf.toml").write_text(TOML)


def measure(folder: Path, rows: int, memory_limit: str, row) -> None:
    "Ingest them and put what it took on the queue `row`."
    from ccf_batch import ingest
    from ccf_batch.base.settings_file import load

    flags = ["--source", str(folder), "--score.memory-limit", memory_limit]
    start = time.perf_counter()
    counts = ingest.run(load(ingest.IngestCommand, folder / "ccf.toml", flags))
    seconds = time.perf_counter() - start
    repeated = rows - counts["events"]  # some more by chance, where events have no id
    assert counts["items"] == 20_000 and rows // 100 <= repeated < rows // 99
    row.put(
        {
            "rows": rows,
            "events": counts["events"],
            "users": counts["users"],
            "csv_mb": round(sum(f.stat().st_size for f in folder.glob("*.csv")) / 2**20),
            "seconds": round(seconds, 1),
            "rows_per_second": round(rows / seconds),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "memory_limit": memory_limit,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a hundred thousand rows only")
    parser.add_argument("--memory-limit", default="2GB", help="DuckDB's")
    parser.add_argument("--rows", type=int, nargs="*", help="other sizes")
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    args = parser.parse_args()
    sizes = args.rows or ([100_000] if args.quick else [5_000_000, 50_000_000])

    rows = []
    spawn = multiprocessing.get_context("spawn")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            queue = spawn.Queue()
            for work in (
                spawn.Process(target=write, args=(Path(folder), size)),
                spawn.Process(target=measure, args=(Path(folder), size, args.memory_limit, queue)),
            ):
                work.start()
                work.join()
                if work.exitcode:
                    raise SystemExit(f"{size:,} rows: exit code {work.exitcode}")
            rows.append(queue.get())
            print(rows[-1], flush=True)

    result = {
        "machine": describe_machine(),
        "versions": versions(("duckdb", "pyarrow")),
        "rows": rows,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
