"""A bundle on the test rows of MovieLens-1M in the papers' split, beside the baselines.

    python benchmarks/quality.py --shared ../shared/data [--seeds 0 1 2] --out FILE.json

By the commands that a user has: ingest the split (genres from MovieLens's own movie table), train
until the test rows begin, evaluate on them. Each seed trains a bundle of its own; the CF logit and
the baselines do not depend on it. Test rows are only measured, never chosen by.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq

from ccf_batch.experiment import machine

TEST_BEGINS = "2002-09-01"
KEYS = ("auc", "uauc", "log_loss", "rows", "users")


def ccf(command: str, *flags: object) -> float:
    "Run an entry point; the seconds that it took."
    start = time.perf_counter()
    command_line = [sys.executable, "-m", f"ccf_batch.{command}", *map(str, flags)]
    subprocess.run(command_line, check=True)
    return time.perf_counter() - start


def measure(work: Path, seed: int, first: bool) -> list[dict]:
    "Train and evaluate one bundle; a row a method, what no seed changes only for the first."
    config = ("--config", work / "ccf.toml")
    before = set((work / "bundles").glob("*"))
    seconds = ccf("train", *config, "--date", TEST_BEGINS, "--train.seed", seed)
    (bundle,) = {b for b in (work / "bundles").iterdir() if b.is_dir()} - before
    ccf("evaluate", *config, "--bundle", bundle)
    (file,) = (work / "evaluations").glob(f"{bundle.name}*.parquet")
    rows = [r for r in pq.read_table(file).to_pylist() if r["subset"] == "all"]
    return [
        {"method": r["model"], "seed": seed, **{k: r[k] for k in KEYS}}
        | ({"train_seconds": round(seconds, 1)} if r["model"] == "model" else {})
        for r in rows
        if r["model"] == "model" or first
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--shared", type=Path, required=True, help="folder with ml-1m-ctr, ml-1m-meta"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        source = ("--source", args.shared / "ml-1m-ctr", "--meta", args.shared / "ml-1m-meta")
        ccf("ingest", *source, "--config", work / "ccf.toml")
        rows = [row for seed in args.seeds for row in measure(work, seed, seed == args.seeds[0])]
    packages = ("ccf_batch", "torch", "transformers", "scikit-learn", "duckdb")
    result = {
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "rows": rows,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
