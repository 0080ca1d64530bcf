"""What trust costs: checks, checksums, manifest and publication beside the scoring of the same run.

    python benchmarks/overhead.py [--quick] [--template compact full] --out FILE.json

A lake of 10,000 users with 100 likes each (`--quick`: 1,000), as in `assemble.py`, a bundle that was
trained for a few steps, and two nights of 100 candidates a user, a million pairs each: the second is
measured, so that its output is compared with a date before. All that is there to find out whether
the rows may be published, and to publish them whole, is timed where it is called, in the run itself;
the scoring is the run's own stage of that name. Writing the rows as Parquet is listed beside, as a
scorer that promises nothing has to do that too.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from unittest import mock

from assemble import DATE, write

from ccf_batch.base.fingerprint import describe_machine, versions

OVERHEAD = {  # what is timed: the module, its function, and what that is for
    "checks of the input": ("checks", "of_input"),
    "checks of the output": ("output_checks", "of_output"),
    "fingerprints of the inputs": ("tables", "fingerprint"),
    "staging, finished shards": ("publish", "Run"),
    "checksums and names of shards": ("publish", "_finish"),
    "manifest and swap": ("publish", "publish"),
    "old runs": ("publish", "tidy"),
    "what the file system can": ("disk", "require_exchange"),
}


@contextlib.contextmanager
def timed(spent: Counter):
    "Add to `spent` what each of them takes; what one calls of another is counted once."
    import importlib

    inside = []

    def around(what, f):
        def call(*args, **kwargs):
            inside.append(what)
            start = time.perf_counter()
            try:
                return f(*args, **kwargs)
            finally:
                inside.pop()
                if not inside:
                    spent[what] += time.perf_counter() - start

        return call

    with contextlib.ExitStack() as stack:
        for what, (name, function) in OVERHEAD.items():
            module = importlib.import_module(f"ccf_batch.{name}")
            f = getattr(module, function)
            stack.enter_context(mock.patch.object(module, function, around(what, f)))
        yield


def night(config: Path, date: dt.date) -> tuple[dict, Counter]:
    "Score a date; its manifest, and what the rest took."
    from ccf_batch import score
    from ccf_batch.base import console

    spent = Counter()
    argv = ["--config", str(config), "--date", str(date), "--show-users", "0"]
    with timed(spent):
        assert not console.main(score.ScoreCommand, score.run, "score", argv=argv)
    file = config.parent / f"ranked/date={date}/_manifest.json"
    return json.loads(file.read_text()), spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the users")
    parser.add_argument("--template", nargs="+", default=["compact", "full"])
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    args = parser.parse_args()
    from ccf_batch import train
    from ccf_batch.base import console

    packages = ("duckdb", "pyarrow", "torch", "ccf_batch")
    rows = []
    for template in args.template:
        with tempfile.TemporaryDirectory(prefix="overhead-") as work:
            config = Path(work, "ccf.toml")
            config.write_text(
                f'[prompt]\ntemplate = "{template}"\n[train]\noffset = false\nrefit = false\nmax_examples = 5000\n[cf]\nmax_examples = 4000\n'
            )
            write(Path(work), 100_000 if args.quick else 1_000_000)
            days = [DATE - dt.timedelta(days=1), DATE]
            flags = ["--config", str(config), "--date", str(days[0]), "--train.max-steps", "20"]
            assert not console.main(train.TrainCommand, train.run, "train", argv=flags)
            night(config, days[0])
            manifest, spent = night(config, days[1])
            scoring = manifest["seconds"]["scoring"]
            rows.append(
                {
                    "template": template,
                    "pairs": manifest["counts"]["pairs"],
                    "users": manifest["counts"]["users"],
                    "shards": len(manifest["shards"]),
                    "seconds": {k: round(s, 3) for k, s in manifest["seconds"].items()},
                    "overhead": {what: round(spent[what], 3) for what in OVERHEAD},
                    "overhead_s": round(sum(spent.values()), 3),
                    "share_of_scoring": round(sum(spent.values()) / scoring, 4),
                }
            )
            print(json.dumps(rows[-1], indent=1), flush=True)
    result = {
        "machine": describe_machine(),
        "versions": versions(packages),
        "rows": rows,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
