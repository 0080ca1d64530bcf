"""Packed engine against padded batches of full prompts, on the same weights.

    python benchmarks/scoring.py [--quick] [--dtype float32] [--token-budget 3072] --out FILE.json

The padded baseline is what a good engineer does without prefix sharing: every pair's full prompt,
sorted by length, in batches of the best size between 1 and 64 (measured first), SDPA, and only the
last position's two logits. Padding is on the right, so causal attention needs no mask, and here all
prompts are of one length, so nothing is padded at all. Each engine lives in a process of its own,
for its peak memory. They take turns on a fifth of the users each, the same fifth one right after the
other; a ratio is the median of the ratios of the five turns, so that it holds where the machine's
speed drifts.

Model: a Llama of hidden size 256, 4 layers, 4 heads, random weights. Prefix 150 tokens, with the
user's slot and ten items' slots in it; suffix 25 tokens, with the item's slot. 200 users. The limit of
the ratio is what the counts of tokens allow: n (150 + 25) / (150 + 25 n) for n candidates.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ccf_batch.experiment import machine

PREFIX, SUFFIX, ITEMS, VOCABULARY, HIDDEN, LAYERS = 150, 25, 2000, 8192, 256, 4
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


def model(dtype: str):
    "The language model of the benchmark: the same weights in each process."
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from ccf_batch.lm import LM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=688,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
    )
    net = LlamaForCausalLM(config).eval().to(getattr(torch, dtype))
    with torch.no_grad():
        net.lm_head.weight.normal_(std=0.2)  # margins of a size of about 3
    kind = getattr(torch, dtype)
    return LM(net, None, yes_id=11, no_id=12, dtype=kind, dtype_reason="", source={"kind": "nano"})


def workload(users: int, candidates: int):
    "Groups, suffixes, slot rows of users and items: random, the same in each process."
    import torch

    from ccf_batch.prompt import Groups, Suffixes, offsets_of

    rng = np.random.default_rng(candidates)
    first_item = VOCABULARY + users
    prefix = rng.integers(VOCABULARY, size=(users, PREFIX), dtype=np.int32)
    prefix[:, 20:140:12] = first_item + rng.integers(ITEMS, size=(users, 10))
    prefix[:, 145] = VOCABULARY + np.arange(users)
    suffix = rng.integers(VOCABULARY, size=(ITEMS, SUFFIX), dtype=np.int32)
    suffix[:, 20] = first_item + np.arange(ITEMS)
    suffix[:, 21:] = suffix[0, 21:]  # the cue
    chosen = np.stack([rng.choice(ITEMS, candidates, replace=False) for _ in range(users)])
    groups = Groups(
        prefix_ids=prefix.ravel(),
        prefix_offsets=offsets_of(np.full(users, PREFIX)),
        candidate=chosen.ravel().astype(np.int32),
        candidate_offsets=offsets_of(np.full(users, candidates)),
        offset=np.zeros(users * candidates, np.float32),
        rejected=np.zeros(users * candidates, bool),
        vocab_rows=VOCABULARY,
        block=users,
    )
    torch.manual_seed(1)
    rows = torch.randn(users + ITEMS, HIDDEN) * 0.02
    return groups, Suffixes(suffix.ravel(), offsets_of(np.full(ITEMS, SUFFIX))), rows


class Padded:
    "Full prompts in padded batches."

    def __init__(self, lm, users, budget):
        self.lm, self.users, self.batch = lm, users, None

    def tune(self, groups, suffixes, rows, pairs):
        "Take the batch size that is fastest on a few pairs."
        part = groups.take(np.arange(min(pairs, len(groups.candidate))))
        seconds = dict.fromkeys(BATCH_SIZES, float("inf"))
        for _ in range(3):  # one hiccup of the machine must not choose a bad size
            for self.batch in BATCH_SIZES:
                start = time.perf_counter()
                self.score(part, suffixes, rows)
                seconds[self.batch] = min(seconds[self.batch], time.perf_counter() - start)
        self.batch = min(seconds, key=seconds.__getitem__)

    def score(self, groups, suffixes, rows):
        import torch

        from ccf_batch.engine import full_prompts

        lm, dtype = self.lm, self.lm.dtype
        table = torch.cat([lm.base.get_input_embeddings().weight, rows.to(dtype)])
        prompts = full_prompts(groups, suffixes)
        order = np.argsort([len(p) for p in prompts], kind="stable")
        margins, tokens = np.empty(len(prompts), np.float32), 0
        with torch.inference_mode():
            for at in range(0, len(order), self.batch):
                part = order[at : at + self.batch]
                ids = torch.nn.utils.rnn.pad_sequence(
                    [torch.from_numpy(prompts[i]) for i in part], batch_first=True
                )
                last = torch.tensor([len(prompts[i]) - 1 for i in part])
                out = lm.decoder(inputs_embeds=table[ids], use_cache=False).last_hidden_state
                margins[part] = lm.margin(out[torch.arange(len(part)), last]).numpy()
                tokens += ids.numel()
        return margins, tokens


class Packed:
    "The engine of the package."

    def __init__(self, lm, users, budget):
        self.lm, self.users, self.batch = lm, users, budget

    def tune(self, groups, suffixes, rows, pairs):
        from ccf_batch.engine import PackedEngine

        self.engine = PackedEngine(self.lm, suffixes, rows[self.users :], self.batch)
        self.score(groups.take(np.arange(min(pairs, len(groups.candidate)))), suffixes, rows)

    def score(self, groups, suffixes, rows):
        before = self.engine.tokens
        margins = self.engine.score(groups, rows[: self.users])
        return margins, self.engine.tokens - before


def worker(pipe, engine: str, dtype: str, budget: int, users: int, candidates: int, tuning: int):
    "A process that scores the workload each time it is told to."
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    groups, suffixes, rows = workload(users, candidates)
    running = {"padded": Padded, "packed": Packed}[engine](model(dtype), users, budget)
    running.tune(groups, suffixes, rows, tuning)
    pipe.send(running.batch)
    while (pairs := pipe.recv()) is not None:
        part = groups.take(pairs)
        start = time.perf_counter()
        margins, tokens = running.score(part, suffixes, rows)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        pipe.send((seconds, tokens, margins, peak))


def compare(
    dtype: str, budget: int, users: int, candidates: int, turns: int, tuning: int
) -> list[dict]:
    "One row an engine."
    context = multiprocessing.get_context("spawn")
    pipes, processes, chosen, seen = {}, [], {}, {"padded": [], "packed": []}
    for engine in seen:
        pipes[engine], theirs = context.Pipe()
        process = context.Process(
            target=worker,
            args=(theirs, engine, dtype, budget, users, candidates, tuning),
            daemon=True,
        )
        process.start()
        theirs.close()
        processes.append(process)
        chosen[engine] = pipes[
            engine
        ].recv()  # before the next starts: they do not disturb each other
    for part in np.array_split(np.arange(users), turns):
        pairs = np.arange(part[0] * candidates, (part[-1] + 1) * candidates)
        for engine, pipe in pipes.items():
            pipe.send(pairs)
            seen[engine].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(None)
    for process in processes:
        process.join()
    paired = list(zip(seen["padded"], seen["packed"], strict=True))
    ratio = statistics.median(a[0] / b[0] for a, b in paired)
    difference = max(float(np.abs(a[2] - b[2]).max()) for a, b in paired)
    limit = candidates * (PREFIX + SUFFIX) / (PREFIX + SUFFIX * candidates)
    rows = []
    for engine, runs in seen.items():
        pairs_per_s = statistics.median(len(r[2]) / r[0] for r in runs)
        tokens_per_s = statistics.median(r[1] / r[0] for r in runs)
        rows.append(
            {
                "engine": engine,
                "dtype": dtype,
                "candidates": candidates,
                "users": users,
                "batch": chosen[engine],
                "pairs_per_s": round(pairs_per_s, 1),
                "tokens_per_s": round(tokens_per_s),
                "ratio_to_padded": 1.0 if engine == "padded" else round(ratio, 2),
                "token_limit_ratio": 1.0 if engine == "padded" else round(limit, 2),
                "max_abs_margin_diff": 0.0 if engine == "padded" else difference,
                "peak_rss_mb": round(max(r[3] for r in runs)),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small case, under 40 s")
    parser.add_argument("--candidates", type=int, nargs="+", help="only these numbers of them")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--token-budget", type=int, default=3072, help="of the packed engine")
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    args = parser.parse_args()
    sizes, users, turns, tuning = (10, 20, 50, 100), 200, 5, 96
    if args.quick:
        sizes, users, turns, tuning = (20,), 20, 5, 64
    sizes = args.candidates or sizes
    fixed = args.dtype, args.token_budget
    packages = ("torch", "transformers", "numpy", "ccf_batch")
    result = {
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "rows": [],
    }
    for n in sizes:
        result["rows"] += compare(*fixed, users, n, turns, tuning)
        args.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
