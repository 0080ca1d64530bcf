"""All metrics of one model, with their bootstrap over users.

    python benchmarks/metrics.py [--quick] --out FILE.json

Synthetic rows with continuous and with rounded scores (many ties), of users with 20 rows on average,
some with many more than others. Measured is `metrics.resample`: AUC, UAUC, log loss and calibration
error on the rows and on 1,000 resamples of their users, in one process and on one thread. Making the
rows is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from ccf_batch.base.fingerprint import describe_machine, versions


def measure(rows: int, resamples: int, decimals: int | None) -> dict:
    "What one call takes; `decimals`: the scores are rounded to so many."
    from ccf_batch.metrics import ROW_METRICS, resample

    rng = np.random.default_rng(0)
    user = (rng.random(rows) ** 2 * (rows / 20)).astype(np.int64)
    margin = rng.normal(size=rows)
    label = rng.random(rows) < 1 / (1 + np.exp(-margin))
    if decimals is not None:
        margin = margin.round(decimals)
    start = time.perf_counter()
    found = resample(user, label, margin, resamples)
    seconds = time.perf_counter() - start
    return {
        "rows": rows,
        "users": found.pairing_key[2],
        "resamples": resamples,
        "distinct_scores": len(np.unique(margin)),
        "seconds": round(seconds, 2),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        **{m: getattr(found.quality, m) for m in ROW_METRICS},
        **{f"{m}_interval": found.interval(m) for m in ROW_METRICS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows only")
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    args = parser.parse_args()
    rows = 100_000 if args.quick else 1_000_000
    found = []
    for decimals in (None, 2):
        found.append(measure(rows, 1000, decimals))
        print(found[-1], flush=True)
    result = {
        "machine": describe_machine(),
        "versions": versions(("ccf_batch", "numpy")),
        "rows": found,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
