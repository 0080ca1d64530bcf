"""What it gains to keep freed memory: the packed engine in two processes that take turns.

    python benchmarks/memory.py [--quick] --out FILE.json

One process keeps the memory that it frees, as the package's commands do, the other lets the C library
give it back. Both score the same users; a ratio is the median of the turns' ratios of processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

from engines import Packed, Shape, beside, load, made, peak_mb, slot_rows, workload

from ccf_batch.base.console import keep_freed
from ccf_batch.base.fingerprint import describe_machine, versions

TURNS, PREFIX, SUFFIX, CANDIDATES = 7, 150, 25, 20
CASES = [  # model, dtype, users of a turn
    ("4 layers of 256", "float32", 16),
    ("4 layers of 1024", "float32", 5),
    ("4 layers of 1024", "bfloat16", 10),
]


def worker(pipe, keep: bool, folder: str, users: int, args) -> None:
    "Scores the same users as often as it is told to."
    told = keep_freed() if keep else False
    assert told == keep, "this system's allocator cannot be told"
    import torch

    torch.set_num_threads(1)
    lm = load(folder)
    packed = Packed(lm, slot_rows(lm.hidden), args)
    groups, suffixes = workload(Shape(PREFIX, SUFFIX, CANDIDATES), lm.vocab_rows, users)
    packed.take(suffixes, groups)
    packed.score(groups)
    pipe.send("ready")
    while pipe.recv():
        before = resource.getrusage(resource.RUSAGE_SELF)
        start = time.process_time()
        packed.score(groups)
        seconds = time.process_time() - start
        after = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send((seconds, after.ru_minflt - before.ru_minflt, round(peak_mb())))


def measure(model: str, dtype: str, users: int, turns: int, args) -> dict:
    "A row: seconds, page faults and peak memory of a turn, both ways."
    running = {}
    with tempfile.TemporaryDirectory(prefix="ccf-memory-") as folder:
        made(model, dtype, folder)
        for keep in (True, False):
            running[keep] = beside(worker, keep, folder, users, args)
            assert running[keep][1].recv() == "ready"
        seen = {True: [], False: []}
        for _ in range(turns):
            for keep, (_, pipe) in running.items():
                pipe.send(True)
                seen[keep].append(pipe.recv())
        for process, pipe in running.values():
            pipe.send(False)
            process.join(10)
    kept, given_back = seen[True], seen[False]
    row = {"model": model, "dtype": dtype, "pairs": users * CANDIDATES}
    row["speed_of_kept"] = round(
        statistics.median(b[0] / a[0] for a, b in zip(kept, given_back, strict=True)), 3
    )
    for name, turns_of in (("kept", kept), ("given_back", given_back)):
        row[f"seconds_{name}"] = round(statistics.median(t[0] for t in turns_of), 3)
        row[f"page_faults_{name}"] = round(statistics.median(t[1] for t in turns_of))
        row[f"peak_mb_{name}"] = max(t[2] for t in turns_of)
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the first case, two turns")
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    args = parser.parse_args()
    args.token_budget = 3072
    cases, turns = (CASES[:1], 2) if args.quick else (CASES, TURNS)
    result = {
        "machine": describe_machine(),
        "versions": versions(("torch", "transformers", "numpy", "ccf_batch")),
        "prefix": PREFIX,
        "suffix": SUFFIX,
        "candidates": CANDIDATES,
        "load": round(os.getloadavg()[0], 2),
        "rows": [measure(*case, turns, args) for case in cases],
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
