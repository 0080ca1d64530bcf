"""Training throughput: packed groups against single rows, and a frozen prefix against one with gradients.

    python benchmarks/training.py [--quick] --shared ../shared/data --out FILE.json

The rows of the papers' split of MovieLens-1M in their own groups, forward and backward, batches of
128 examples, dropout as in training. A turn takes the same examples in every way, one after the
other; a ratio is the median of the turns' ratios, so that it holds where the machine's speed drifts.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime as dt
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from ccf_batch.base.fingerprint import describe_machine, versions

EXAMPLES = 128  # of a step
TURNS = 15


def rows_alone(batch):
    "Each candidate in a group of its own."

    alone = batch.take(batch.group_of)
    counts = np.diff(alone.candidate_offsets)
    rank = np.arange(len(batch.candidate)) - batch.candidate_offsets[batch.group_of]
    pick = alone.candidate_offsets[:-1] + rank
    assert (rank < counts).all()
    return dataclasses.replace(
        alone,
        candidate=alone.candidate[pick],
        label=alone.label[pick],
        event_ts=None,
        not_cold=None,
        candidate_offsets=np.arange(len(pick) + 1),
    )


def ready(shared: Path, work: Path, template: str):
    "An untrained model with the examples of the split, as training sees them."
    from ccf_batch import ingest
    from ccf_batch.base.settings_file import load
    from ccf_batch.model.ccf import untrained
    from ccf_batch.model.fit import fit_encoder, language_model
    from ccf_batch.research import methods

    config = work / "ccf.toml"
    if not config.exists():
        given = [f"--source={shared / 'ml-1m-ctr'}", f"--meta={shared / 'ml-1m-meta'}"]
        with contextlib.redirect_stdout(io.StringIO()):
            ingest.run(load(ingest.IngestCommand, config, given, missing_ok=True))
    settings = load(config=config, flags=[f"--prompt.template={template}", "--cf.folds=2"])
    rows = methods.read_rows(settings, dt.date(2002, 9, 1))
    cf, users, _ = fit_encoder(rows.train, rows.catalogue, settings, rows.valid)
    lm = language_model(rows.catalogue, settings)
    return untrained(settings, lm, cf, rows.catalogue, users, rows.cutoff), rows


def step(model, side, prompts, batch, frozen: bool) -> tuple[float, int]:
    "Seconds of a forward and a backward pass; tokens computed."
    import torch

    from ccf_batch.data.batch import rows_of
    from ccf_batch.model import trainer

    user = rows_of(batch.user_id, model.user_ids)
    start = time.perf_counter()
    groups = prompts.groups(side.texts, batch)
    kept = np.arange(len(batch.candidate))
    part, logit = trainer.forward(model, model.cf, side, user, batch, groups, kept, frozen)
    label = torch.from_numpy(batch.label).to(part)
    torch.nn.functional.binary_cross_entropy_with_logits(part + logit, label).backward()
    seconds = time.perf_counter() - start
    for module in (model.fusion, model.lm.model, model.answer):
        module.zero_grad()
    suffixes = side.texts.suffixes.lengths[batch.candidate].sum()
    return seconds, int(len(groups.prefix_ids) + suffixes)


def measure(model, rows, ways: dict[str, tuple[bool, bool]], turns: int, learn_lm: bool) -> list:
    "A row for each way: whether rows are alone, whether the prefix is frozen."
    from ccf_batch.model.trainer import draw_steps

    for p in model.lm.model.parameters():
        p.requires_grad_(learn_lm)
    model.fusion.train(), model.lm.model.train(learn_lm)
    prompts = model.prompts()
    side = model.prepare_items(prompts, rows.catalogue)
    sizes = np.diff(rows.train.candidate_offsets)
    steps = draw_steps(sizes, np.zeros(len(sizes), int), EXAMPLES, np.random.default_rng(0))
    taken = {way: [] for way in ways}
    for _, groups in steps[: turns + 1]:
        packed = rows.train.take(groups)
        for way, (alone, frozen) in ways.items():
            batch = rows_alone(packed) if alone else packed
            taken[way].append((*step(model, side, prompts, batch, frozen), len(batch.candidate)))
    first = next(iter(ways))
    out = []
    for way in ways:
        turns_of = list(
            zip(taken[way][1:], taken[first][1:], strict=True)
        )  # the first one warms up
        out.append(
            {
                "template": model.template,
                "way": way,
                "examples_per_s": statistics.median(n / s for (s, _, n), _ in turns_of),
                "tokens_per_example": sum(t for (_, t, _), _ in turns_of)
                / sum(n for (_, _, n), _ in turns_of),
                f"speed_over_{first.replace(' ', '_')}": statistics.median(
                    base / s for (s, _, _), (base, _, _) in turns_of
                ),
                "tokens_saved": statistics.median(
                    1 - t / base for (_, t, _), (_, base, _) in turns_of
                ),
            }
        )
        print(
            "  "
            + ", ".join(
                f"{k} {v:.3g}" if isinstance(v, float) else str(v) for k, v in out[-1].items()
            )
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three turns, under 40 s")
    parser.add_argument("--shared", type=Path, required=True, help="folder with ml-1m-ctr")
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    args = parser.parse_args()
    turns, rows = (3 if args.quick else TURNS), []
    joint = {"single rows": (True, False), "packed groups": (False, False)}
    frozen = {"packed groups": (False, False), "frozen prefix": (False, True)}
    with tempfile.TemporaryDirectory() as folder:
        for template, ways, learn_lm in (
            ("compact", joint, True),
            ("full", joint, True),
            ("target", frozen, False),
        ):
            model, data = ready(args.shared, Path(folder), template)
            print(
                f"{template}: {len(data.train):,} groups of {len(data.train.candidate):,} examples"
            )
            rows += measure(model, data, ways, turns, learn_lm)
    packages = ("ccf_batch", "torch", "transformers")
    result = {
        "machine": describe_machine(),
        "versions": versions(packages),
        "rows": rows,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
