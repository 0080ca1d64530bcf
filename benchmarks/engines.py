"""Every engine on the same weights and the same prompts, beside what the machine could do.

    python benchmarks/engines.py [--quick] [--only MODEL ...] [--token-budget 3072] --out FILE.json

| engine | injection | what it is |
|---|---|---|
| padded | rows | `transformers`, full prompts, sorted by length, in batches of the best size |
| cached | rows | `transformers`, one user after the other: the prefix once, its cache expanded to all candidates |
| packed | rows | the package's own engine |
| vllm, vllm uncached | embedding rows | the package's other engine, with prefix caching and without |
| vllm, vllm uncached | prompt embeds | embeddings sent with each prompt, two log-probabilities out |

Engines on `transformers` ask for the last position's two logits only. All prompts of a cell are of
one length, so nothing is padded at all, in any engine: the padded baseline is at its best.

**Turns.** Each engine lives in a process of its own, for its peak memory. They take turns, five of
about 0.7 seconds each, beginning with the same user, one right after the other; a ratio is the median
of the ratios of the five turns, so that it holds where the machine's speed drifts.

**Limit.** What counts of tokens allow over full prompts: n (P + S) / (P + n S) for n candidates, a
prefix of P tokens and suffixes of S.

**FLOP utilisation.** Two for each weight of the layers' matrices and each computed token, four for
each dimension of each head for each pair of a computed token and one that it attends to; nothing for
embeddings and head, nothing for padding; of the last layer, where an engine computes it for the last
token of each pair alone, no more than that and everybody's keys and values. Divided by the seconds, and by the best matrix product of
as many rows as the token budget, in the same dtype, of the same turn: the best of the model's own
matrices and of square ones of 2,048.

Every process keeps the memory that it frees, as the package's commands do.

`load` in the result is the machine's load average before anything was started: where it is not near
zero, others were at work, and only `cpu_s` (processor seconds of a row's turns) can be relied on.

Where there is a GPU the same command takes models of the sizes that are served on one, in bf16.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccf_batch.base.console import keep_freed
from ccf_batch.base.fingerprint import describe_machine, versions

ITEMS, BLOCK = 2000, 1024  # items of the catalogue, and the most users of a batch
BATCH_SIZES = {"cpu": (1, 2, 4, 8, 16, 32, 64), "cuda": (8, 16, 32, 64, 128, 256, 512)}
TURNS, TURN_S, CELL_S = 5, 0.7, 15.0  # turns of a cell, and seconds of one and of all
SEEDED = {"yes_id": 11, "no_id": 12}  # answers of a model with random weights

# architecture, and what its config says besides
LLAMA = {"vocab_size": 8192, "max_position_embeddings": 2048, "tie_word_embeddings": False}
QWEN3 = {"vocab_size": 151_936, "max_position_embeddings": 40_960, "tie_word_embeddings": True}


def llama(hidden: int, layers: int, intermediate: int) -> dict:
    "A Llama with heads of 64."
    sizes = {"hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers}
    heads = {name: hidden // 64 for name in ("num_attention_heads", "num_key_value_heads")}
    return {"model_type": "llama", **LLAMA, **sizes, **heads}


CONFIGS = {
    "4 layers of 256": llama(256, 4, 688),
    "4 layers of 1024": llama(1024, 4, 2736),
    "1 layer of 64": llama(64, 1, 176),
    # Qwen3-0.6B's sizes, as its config has them
    "Qwen3 0.6B": {
        "model_type": "qwen3",
        **QWEN3,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    # Qwen2.5-1.5B's sizes, in the same architecture
    "Qwen3 1.5B": {
        "model_type": "qwen3",
        **QWEN3,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "head_dim": 128,
    },
}
SMOLLM2 = "SmolLM2-135M"  # from models/*.gguf, by `make lm-smollm2`


@dataclass(frozen=True)
class Engine:
    "What a row is of."

    name: str
    injection: str
    shares: bool  # Whether it computes a prefix once a user


ENGINES = {
    "padded": Engine("padded", "rows", False),
    "cached": Engine("cached", "rows", True),
    "packed": Engine("packed", "rows", True),
    "vllm": Engine("vllm", "embedding rows", True),
    "vllm-uncached": Engine("vllm uncached", "embedding rows", False),
    "embeds": Engine("vllm", "prompt embeds", True),
    "embeds-uncached": Engine("vllm uncached", "prompt embeds", False),
}
CORE = ("padded", "cached", "packed", "vllm")


@dataclass(frozen=True)
class Shape:
    "What a cell is of."

    prefix: int
    suffix: int
    candidates: int
    engines: tuple[str, ...] = CORE


ALL = Shape(150, 25, 20, tuple(ENGINES))
OTHERS = Shape(120, 180, 10)  # the shape that others publish
NIGHT = Shape(120, 10, 100)  # about what a night of ours has, titles of ten items in the prefix
PLAN = [  # model, dtype, shapes
    (
        "4 layers of 256",
        "float32",
        [
            ALL,
            *(Shape(150, 25, n) for n in (1, 5, 100)),
            Shape(64, 25, 20),
            Shape(500, 25, 20, ("padded", "cached", "packed", "vllm", "embeds")),
            OTHERS,
            NIGHT,
        ],
    ),
    ("4 layers of 1024", "float32", [ALL, Shape(150, 25, 100), Shape(150, 25, 5), OTHERS]),
    ("4 layers of 1024", "bfloat16", [Shape(150, 25, 20), OTHERS]),
    (SMOLLM2, "float32", [Shape(150, 25, 20), OTHERS]),
    ("1 layer of 64", "float32", [ALL, Shape(64, 2, 100, (*CORE, "embeds"))]),
]
PLAN_GPU = [
    (model, "bfloat16", [ALL, Shape(150, 25, 100), Shape(500, 25, 20), OTHERS])
    for model in ("Qwen3 0.6B", "Qwen3 1.5B")
]
PLAN_QUICK = [("1 layer of 64", "float32", [Shape(64, 10, 20, tuple(ENGINES))])]


def make(name: str, dtype: str, folder: str) -> None:
    "Write a model with its tokenizer: the same weights for each process."
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from ccf_batch.lm import causal_lm
    from ccf_batch.settings import Settings

    if name == SMOLLM2:
        gguf = next(Path("models").glob("*.gguf"))
        loaded = causal_lm.load(Settings(model={"base": str(gguf.resolve()), "dtype": dtype}))
        net, tokenizer = loaded.model, loaded.tokenizer
        answers = {"yes_id": loaded.yes_id, "no_id": loaded.no_id}
    else:
        torch.manual_seed(0)
        net = AutoModelForCausalLM.from_config(AutoConfig.for_model(**CONFIGS[name]))
        tokenizer = causal_lm.nano_tokenizer([f"Film {k}" for k in range(50)], Settings())
        answers = SEEDED
        if not net.config.tie_word_embeddings:
            with torch.no_grad():
                net.lm_head.weight.normal_(std=0.2)  # margins of a size of about 3
    net.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Path(folder, "answers.json").write_text(json.dumps(answers))


def load(folder: str):
    "The language model of a folder that `make` wrote."
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    from ccf_batch.lm.base_files import Source
    from ccf_batch.lm.causal_lm import LM

    logging.disable_progress_bar()
    net = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    net.to("cuda" if torch.cuda.is_available() else "cpu")
    answers = json.loads(Path(folder, "answers.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return LM(
        net, tokenizer, **answers, dtype=net.dtype, dtype_reason="", source=Source(kind="nano")
    )


def slot_rows(hidden: int):
    "Slot rows of users and items."
    import torch

    generator = torch.Generator().manual_seed(1)
    return torch.randn(BLOCK + ITEMS, hidden, generator=generator) * 0.02


def workload(shape: Shape, vocabulary: int, users: int):
    "Groups and suffixes: random, the same in each process."
    from ccf_batch.data.ragged import offsets_of
    from ccf_batch.lm.prompt import Groups, Suffixes

    P, S, n = shape.prefix, shape.suffix, shape.candidates
    rng = np.random.default_rng(n)
    first_item = vocabulary + BLOCK
    prefix = rng.integers(vocabulary, size=(users, P), dtype=np.int32)
    at = np.linspace(P // 8, P - P // 8, 10).astype(int)  # ten items of the history
    prefix[:, at] = first_item + rng.integers(ITEMS, size=(users, 10))
    prefix[:, P - 5] = vocabulary + np.arange(users)
    suffix = rng.integers(vocabulary, size=(ITEMS, S), dtype=np.int32)
    cue = S // 6
    suffix[:, S - cue :] = suffix[0, S - cue :]
    suffix[:, S - cue - 1] = first_item + np.arange(ITEMS)
    chosen = np.stack([rng.choice(ITEMS, n, replace=False) for _ in range(users)])
    groups = Groups(
        prefix_ids=prefix.ravel(),
        prefix_offsets=offsets_of(np.full(users, P)),
        candidate=chosen.ravel().astype(np.int32),
        candidate_offsets=offsets_of(np.full(users, n)),
        offset=np.zeros(users * n, np.float32),
        rejected=np.zeros(users * n, bool),
        vocab_rows=vocabulary,
        block=BLOCK,
    )
    return groups, Suffixes(suffix.ravel(), offsets_of(np.full(ITEMS, S)))


# -- engines: each is made once, takes the suffixes of a cell, and scores groups --------------------


class Padded:
    "Full prompts in padded batches."

    def __init__(self, lm, rows, args):
        import torch

        self.lm, self.best = lm, {}
        weight = lm.base.get_input_embeddings().weight
        self.table = torch.cat([weight, rows.to(weight)]).detach()

    def take(self, suffixes, groups):
        "Take the batch size that is fastest on a few pairs."
        self.suffixes = suffixes
        length = int(groups.prefix_offsets[1] + suffixes.lengths[0])
        if length not in self.best:
            sizes = BATCH_SIZES[self.lm.device.type]
            seconds = dict.fromkeys(sizes, float("inf"))
            for turn in range(2):  # one hiccup of the machine must not choose a bad size
                for self.batch in sizes:
                    if turn and seconds[self.batch] > 1.5 * min(seconds.values()):
                        continue
                    part = groups.take(np.arange(min(self.batch, len(groups.candidate))))
                    start, done = time.perf_counter(), 0
                    while time.perf_counter() - start < 0.1 or not done:
                        self.score(part)
                        done += len(part.candidate)
                    took = (time.perf_counter() - start) / done
                    seconds[self.batch] = min(seconds[self.batch], took)
                    if took * self.batch > 1.0:  # a larger one gains nothing on what is so slow
                        break
            self.best[length] = min(seconds, key=seconds.__getitem__)
        self.batch = self.best[length]

    def score(self, groups):
        import torch

        from ccf_batch.lm.packed import full_prompts

        lm = self.lm
        prompts = full_prompts(groups, self.suffixes)
        order = np.argsort([len(p) for p in prompts], kind="stable")
        margins, tokens = np.empty(len(prompts), np.float32), 0
        with torch.inference_mode():
            for at in range(0, len(order), self.batch):
                part = order[at : at + self.batch]
                ids = torch.nn.utils.rnn.pad_sequence(
                    [torch.from_numpy(prompts[i]) for i in part], batch_first=True
                ).to(lm.device)
                last = torch.tensor([len(prompts[i]) - 1 for i in part], device=lm.device)
                out = lm.decoder(inputs_embeds=self.table[ids], use_cache=False).last_hidden_state
                here = torch.arange(len(part), device=lm.device)
                margins[part] = lm.margin(out[here, last]).cpu().numpy()
                tokens += ids.numel()
        return margins, tokens


class Cached(Padded):
    "A prefix at a time, then its suffixes as a batch on copies of its keys and values."

    def take(self, suffixes, groups):
        self.suffixes, self.batch = suffixes, int(groups.candidate_offsets[1])

    def score(self, groups):
        import torch
        from transformers import DynamicCache

        lm, margins, tokens = self.lm, np.empty(len(groups.candidate), np.float32), 0
        with torch.inference_mode():
            for g in range(len(groups)):
                a, b = groups.prefix_offsets[g : g + 2]
                prefix = torch.from_numpy(groups.prefix_ids[a:b].astype(np.int64)).to(lm.device)
                cache = DynamicCache(config=lm.base.config)
                lm.decoder(
                    inputs_embeds=self.table[prefix][None], past_key_values=cache, use_cache=True
                )
                first, end = groups.candidate_offsets[g : g + 2]
                lengths = self.suffixes.lengths[groups.candidate[first:end]]
                from_ = self.suffixes.offsets[groups.candidate[first:end]]
                ids = torch.nn.utils.rnn.pad_sequence(
                    [
                        torch.from_numpy(self.suffixes.ids[i : i + k].astype(np.int64))
                        for i, k in zip(from_, lengths, strict=True)
                    ],
                    batch_first=True,
                ).to(lm.device)
                cache.batch_repeat_interleave(len(ids))
                out = lm.decoder(inputs_embeds=self.table[ids], past_key_values=cache)
                here = torch.arange(len(ids), device=lm.device)
                last = torch.from_numpy(lengths - 1).to(lm.device)
                margins[first:end] = lm.margin(out.last_hidden_state[here, last]).cpu().numpy()
                tokens += prefix.numel() + ids.numel()
        return margins, tokens


class Packed:
    "The package's own engine."

    def __init__(self, lm, rows, args):
        self.lm, self.rows = lm, rows
        self.sizes = args.token_budget, args.longest

    def take(self, suffixes, groups):
        from ccf_batch.lm.packed import PackedEngine

        self.engine = PackedEngine(self.lm, suffixes, self.rows[BLOCK:], *self.sizes)

    def score(self, groups):
        before = self.engine.tokens
        margins = self.engine.score(groups, self.rows[:BLOCK])
        return margins, self.engine.tokens - before


class Vllm:
    "The package's engine on vLLM: slots are rows of its embedding table."

    caching = True

    def __init__(self, lm, rows, args):
        import vllm

        from ccf_batch.lm import vllm as ours

        start = vllm.LLM
        if not self.caching:  # for a comparison only: no run is without it
            vllm.LLM = lambda *a, **k: start(*a, **(k | {"enable_prefix_caching": False}))
        self.rows, self.batch = rows, args.token_budget
        none, folder = empty_suffixes(), Path(args.folder, "serving")
        fixed = args.token_budget, args.longest, folder, "benchmark", BLOCK
        self.engine = ours.VllmEngine(lm, none, rows[BLOCK:], *fixed)
        vllm.LLM = start

    def take(self, suffixes, groups):
        self.engine.suffixes = suffixes

    def score(self, groups):
        before = self.engine.tokens
        margins = self.engine.score(groups, self.rows[:BLOCK])
        return margins, self.engine.tokens - before


class VllmUncached(Vllm):
    caching = False


class Embeds(Padded):
    "vLLM with the embeddings of each prompt, as a generator of one token."

    caching = True

    def __init__(self, lm, rows, args):
        super().__init__(lm, rows, args)
        from ccf_batch.lm import vllm as ours

        self.batch = args.token_budget
        with ours._at_home():
            from vllm import LLM

            self.llm = LLM(
                args.folder,
                dtype=str(lm.dtype).removeprefix("torch."),
                seed=0,
                enable_prompt_embeds=True,
                enable_prefix_caching=self.caching,
                max_model_len=args.longest + 1,
                max_num_seqs=ours.AT_ONCE,
                max_num_batched_tokens=args.token_budget,
                block_size=ours.BLOCK,
                kv_cache_memory_bytes=ours.cache_bytes(
                    lm.base.config, lm.dtype, args.token_budget, args.longest + 1
                ),
                enforce_eager=lm.device.type == "cpu",
                disable_log_stats=True,
                use_tqdm_on_load=False,
            )

    def take(self, suffixes, groups):
        self.suffixes = suffixes

    def score(self, groups):
        import torch
        from vllm import SamplingParams

        from ccf_batch.lm.packed import full_prompts

        assert self.llm.reset_prefix_cache()
        yes, no = self.lm.yes_id, self.lm.no_id
        one = SamplingParams(
            max_tokens=1, temperature=0, logprob_token_ids=[yes, no], detokenize=False
        )
        ids = full_prompts(groups, self.suffixes)
        prompts = [{"prompt_embeds": self.table[torch.from_numpy(i)].cpu()} for i in ids]
        found = self.llm.generate(prompts, one, use_tqdm=False)
        said = [answer.outputs[0].logprobs[0] for answer in found]
        margins = np.array([s[yes].logprob - s[no].logprob for s in said], np.float32)
        cached = sum(answer.num_cached_tokens or 0 for answer in found)
        return margins, sum(map(len, ids)) - cached


class EmbedsUncached(Embeds):
    caching = False


CLASSES = {
    "padded": Padded,
    "cached": Cached,
    "packed": Packed,
    "vllm": Vllm,
    "vllm-uncached": VllmUncached,
    "embeds": Embeds,
    "embeds-uncached": EmbedsUncached,
}


def empty_suffixes():
    from ccf_batch.lm.prompt import Suffixes

    return Suffixes(np.empty(0, np.int32), np.zeros(1, np.int64))


# -- what a machine could do -----------------------------------------------------------------------


class Product:
    "The best matrix product of as many rows as the token budget."

    def __init__(self, lm, rows, args):
        import torch

        layers = lm.decoder.layers
        sizes = {tuple(w.shape) for w in layers.parameters() if w.ndim == 2} | {(2048, 2048)}
        make = {"dtype": lm.dtype, "device": lm.device}
        self.weights = [torch.randn(*size, **make) for size in sorted(sizes)]
        self.inputs = {
            w.shape[1]: torch.randn(args.token_budget, w.shape[1], **make) for w in self.weights
        }
        self.gpu = lm.device.type == "cuda"
        self.measure()  # warms up

    def measure(self) -> float:
        "FLOP/s."
        import torch

        best = 0.0
        with torch.inference_mode():
            for w in self.weights:
                x, turns = self.inputs[w.shape[1]], 20 if self.gpu else 1
                for _ in range(3):
                    start = time.perf_counter()
                    for _ in range(turns):
                        torch.nn.functional.linear(x, w)
                    if self.gpu:
                        torch.cuda.synchronize()
                    seconds = (time.perf_counter() - start) / turns
                    best = max(best, 2 * x.shape[0] * w.numel() / seconds)
        return best


@dataclass(frozen=True)
class Size:
    "What of a model decides how much it computes."

    weights: int  # Of its layers' matrices
    ends: int  # Those of the last layer, but for keys and values
    width: int  # Heads times their dimension, of all layers together
    parameters: int
    hidden: int
    layers: int
    vocabulary: int

    @classmethod
    def of(cls, lm) -> Size:
        config = lm.base.config
        heads = config.num_attention_heads
        each = getattr(config, "head_dim", None) or config.hidden_size // heads
        layers = config.num_hidden_layers
        last = dict(lm.decoder.layers[-1].named_parameters())
        return cls(
            weights=sum(w.numel() for w in lm.decoder.layers.parameters() if w.ndim == 2),
            ends=sum(
                w.numel()
                for name, w in last.items()
                if w.ndim == 2 and not name.endswith(("k_proj.weight", "v_proj.weight"))
            ),
            width=heads * each * layers,
            parameters=lm.num_parameters(),
            hidden=lm.hidden,
            layers=layers,
            vocabulary=lm.vocab_rows,
        )

    def flops(self, tokens: int, attended: int, ends: tuple[int, int] | None = None) -> float:
        "Of so many computed tokens, which attend to so many in all; of the last layer only `ends`."
        ends = ends or (tokens, attended)
        products = self.weights * tokens - self.ends * (tokens - ends[0])
        return 2.0 * products + 4.0 * self.width * (attended - (attended - ends[1]) / self.layers)


def attended(engine: str, shape: Shape, users: int, pairs: int, tokens: int) -> int:
    "Pairs of a computed token and one that it attends to, itself included."
    P, S = shape.prefix, shape.suffix
    whole = pairs * (P + S) * (P + S + 1) // 2
    if engine in ("cached", "packed"):
        assert tokens == users * P + pairs * S, (tokens, users, pairs)
        return users * P * (P + 1) // 2 + pairs * (S * P + S * (S + 1) // 2)
    if engine in ("vllm", "embeds"):  # what it did not compute were whole blocks of prefixes
        hit = P // 32 * 32
        return whole - (pairs * (P + S) - tokens) * (hit + 1) // 2
    assert tokens == pairs * (P + S)
    return whole


# -- processes ------------------------------------------------------------------------------------


def peak_mb(reset: bool = False) -> float:
    "The most memory this process has held since the last reset, in MB, where the system tells."
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def worker(pipe, engine: str, args):
    "A process that scores what it is told to."
    keep_freed()
    import torch

    torch.set_num_threads(args.threads)
    lm = load(args.folder)
    rows = slot_rows(lm.hidden)
    if engine == "product":
        product = Product(lm, rows, args)
        pipe.send(Size.of(lm))
        while pipe.recv() is not None:
            pipe.send(product.measure())
        return
    running = CLASSES[engine](lm, rows, args)
    shape = Shape(32, 3, 2)
    groups, suffixes = workload(shape, lm.vocab_rows, 1)
    running.take(suffixes, groups)
    running.score(groups)
    pipe.send("ready")
    while (shape := pipe.recv()) is not None:
        groups, suffixes = workload(shape, lm.vocab_rows, min(BLOCK, args.users))
        gpu = torch.cuda.is_available()
        peak_mb(reset=True)
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        running.take(suffixes, groups)
        pipe.send((running.batch, calibrate(running, groups, engine, shape, args)))
        while (pairs := pipe.recv()) is not None:
            part = groups.take(pairs)
            start, used = time.perf_counter(), time.process_time()
            margins, tokens = running.score(part)
            seconds, used = time.perf_counter() - start, time.process_time() - used
            peaks = peak_mb(), torch.cuda.max_memory_allocated() / 1e6 if gpu else None
            pipe.send((seconds, tokens, margins, peaks, used))


def unit_of(engine: str, batch: int, shape: Shape, budget: int) -> int:
    "Pairs that fill what an engine computes at once: a turn takes a multiple of it."
    P, S, n = shape.prefix, shape.suffix, shape.candidates
    if engine == "padded":
        return batch
    if not ENGINES[engine].shares:
        return max(1, budget // (P + S))
    return n if engine == "cached" else n * max(1, budget // (P + n * S))


def calibrate(running, groups, engine: str, shape: Shape, args) -> int:
    "Pairs that a turn should take."
    unit = unit_of(engine, running.batch, shape, args.token_budget)
    whole = max(1, len(groups.candidate) // unit)  # so many units are there
    units = 1
    while True:
        start = time.perf_counter()
        running.score(groups.take(np.arange(min(units * unit, len(groups.candidate)))))
        seconds = time.perf_counter() - start
        more = min(whole, max(1, round(units * args.turn_s / seconds)))
        if seconds > args.turn_s / 4 or more <= units:
            return min(more * unit, len(groups.candidate))
        units = min(more, 8 * units)


def made(model: str, dtype: str, folder: str) -> None:
    "Let a process of its own make the model."
    maker = multiprocessing.get_context("spawn").Process(target=make, args=(model, dtype, folder))
    maker.start(), maker.join()
    assert maker.exitcode == 0, f"{model} could not be made"


def beside(worker, *args):
    "A process that does this, and the pipe to it."
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=worker, args=(theirs, *args), daemon=True)
    process.start()
    theirs.close()
    return process, pipe


def start(engine: str, args):
    "A running process, what it first said, and the seconds that took."
    began = time.perf_counter()
    process, pipe = beside(worker, engine, args)
    try:
        said = pipe.recv()
    except EOFError:
        raise SystemExit(f"{engine}: its process ended; see above") from None
    return process, pipe, said, time.perf_counter() - began


def measure(model: str, dtype: str, shapes: list[Shape], args) -> list[dict]:
    "The rows of one model."
    missing = absent(model)
    if missing:
        return [{"model": model, "dtype": dtype, "skipped": missing}]
    with tempfile.TemporaryDirectory(prefix="ccf-engines-") as folder:
        args.folder = folder
        args.longest = max(512, *(s.prefix + s.suffix for s in shapes))
        made(model, dtype, folder)
        wanted = [e for e in ENGINES if any(e in s.engines for s in shapes)]
        rows, running = [], {}
        product = start("product", args)
        for engine in wanted:
            if "vllm" in ENGINES[engine].name and not vllm_version():
                about = vars(ENGINES[engine])
                here = {"engine": about["name"], "injection": about["injection"]}
                here |= {"model": model, "dtype": dtype, "skipped": "vllm is not installed"}
                rows.append(here)
                continue
            running[engine] = start(engine, args)  # alone: they do not disturb each other
        for shape in shapes:
            rows += cell(model, dtype, shape, running, product, args)
        for process, pipe, *_ in [*running.values(), product]:
            pipe.send(None)
            process.join(10)
    return rows


def cell(model: str, dtype: str, shape: Shape, running: dict, product, args) -> list[dict]:
    "The rows of one shape."
    engines = [e for e in shape.engines if e in running]
    n = shape.candidates
    chosen, each, seen = {}, {}, {engine: [] for engine in engines}
    for engine in engines:
        running[engine][1].send(shape)
        chosen[engine], each[engine] = running[engine][1].recv()
    users, spent = min(BLOCK, args.users), dict.fromkeys(engines, 0.0)
    products = []
    for turn in range(args.turns):
        first = turn * users // args.turns * n
        product[1].send("measure")
        products.append(product[1].recv())
        for engine in engines:
            if turn > 1 and spent[engine] * (turn + 1) / turn > CELL_S:
                continue
            pairs = np.sort((first + np.arange(each[engine])) % (users * n))
            pipe = running[engine][1]
            pipe.send(pairs)
            seen[engine].append((*pipe.recv(), pairs))
            spent[engine] += seen[engine][-1][0]
    for engine in engines:
        running[engine][1].send(None)
    return [
        row(
            model,
            dtype,
            shape,
            engine,
            seen,
            products,
            chosen[engine],
            running[engine][3],
            product[2],
        )
        for engine in engines
    ]


def row(model, dtype, shape, engine, seen, products, batch, start_s, size) -> dict:
    "What is written of one engine in one cell."
    P, S, n = shape.prefix, shape.suffix, shape.candidates
    runs, about = seen[engine], ENGINES[engine]
    limit = n * (P + S) / (P + n * S) if about.shares else 1.0
    rates = [len(r[2]) / r[0] for r in runs]
    padded = [len(r[2]) / r[0] for r in seen["padded"]]
    ratio = statistics.median(a / b for a, b in zip(rates, padded, strict=False))
    used, differences = [], [0.0]
    for (seconds, tokens, *_, pairs), best in zip(runs, products, strict=False):
        users = len(np.unique(pairs // n))
        ends = (len(pairs), len(pairs) * (P + S)) if engine == "packed" else None
        flops = size.flops(tokens, attended(engine, shape, users, len(pairs), tokens), ends)
        used.append(flops / seconds / best)
    for mine, theirs in zip(runs, seen["padded"], strict=False):
        _, i, j = np.intersect1d(mine[-1], theirs[-1], return_indices=True)
        differences += np.abs(mine[2][i] - theirs[2][j]).tolist()
    pairs, tokens = sum(len(r[2]) for r in runs), sum(r[1] for r in runs)
    peaks = zip(*(r[3] for r in runs), strict=True)
    rss, gpu = ([p for p in column if p is not None] for column in peaks)
    users = sum(len(np.unique(r[-1] // n)) for r in runs)
    found = {
        "engine": about.name,
        "injection": about.injection,
        "model": model,
        "hidden": size.hidden,
        "layers": size.layers,
        "dtype": dtype,
        "prefix": P,
        "suffix": S,
        "candidates": n,
        "users": users,
        "pairs": pairs,
        "seconds": round(sum(r[0] for r in runs), 3),
        "cpu_s": round(sum(r[4] for r in runs), 3),
        "batch": batch,
        "pairs_per_s": round(statistics.median(rates), 1),
        "tokens_per_s": round(statistics.median(r[1] / r[0] for r in runs)),
        "ratio_to_padded": round(ratio, 2),
        "token_limit_ratio": round(limit, 2),
        "flop_utilisation": round(statistics.median(used), 3),
        "product_gflops": round(statistics.median(products) / 1e9, 1),
        "prefix_hit_share": round(1 - tokens / (pairs * (P + S)), 4),
        "prefix_hit_possible": round(1 - (users * P + pairs * S) / (pairs * (P + S)), 4),
        "max_abs_margin_diff": max(differences),
        "peak_rss_mb": round(max(rss)),
        "peak_gpu_mb": round(max(gpu)) if gpu else None,
        "start_s": round(start_s, 1),
        "weights": size.weights,
        "ends": size.ends if ends else 0,  # those that only the last token of a pair meets
        "width": size.width,
    }
    print(json.dumps(found), flush=True)
    return found


def vllm_version() -> str | None:
    from ccf_batch.model.engines import vllm_version

    return vllm_version()


def absent(model: str) -> str | None:
    "Why a model cannot be measured."
    if model == SMOLLM2 and not list(Path("models").glob("*.gguf")):
        return "no models/*.gguf: `make lm-smollm2` fetches it"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small cell, under a minute")
    parser.add_argument("--only", nargs="+", metavar="MODEL", help="only these models")
    parser.add_argument("--token-budget", type=int, help="tokens in one pass; 3072, on a GPU 16384")
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    args = parser.parse_args()
    import torch

    gpu = torch.cuda.is_available()
    plan = PLAN_QUICK if args.quick else PLAN_GPU if gpu else PLAN
    if args.only:
        plan = [line for line in plan if line[0] in args.only]
    args.turns = 2 if args.quick else TURNS
    args.users, args.turn_s = 40 if args.quick else BLOCK, 0.2 if args.quick else TURN_S
    args.token_budget = args.token_budget or (16_384 if gpu else 3072)
    about = describe_machine()
    args.threads = about["threads"]
    if gpu:
        about["gpu"] = torch.cuda.get_device_name()
    packages = ("torch", "transformers", "numpy", "ccf_batch")
    result = {
        "machine": about,
        "versions": versions(packages) | {"vllm": vllm_version()},
        "token_budget": args.token_budget,
        "load": round(os.getloadavg()[0], 2),  # beside us, when it began
        "rows": [],
    }
    start = time.perf_counter()
    for model, dtype, shapes in plan:
        result["rows"] += measure(model, dtype, shapes, args)
        result["seconds"] = round(time.perf_counter() - start)
        args.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
