"""How slots get into vLLM, and what that costs beside the packed engine, on the same weights.

    python benchmarks/injection.py [--quick] [--dtypes float32 bfloat16] --out FILE.json

| engine | injection |
|---|---|
| packed | rows looked up by the engine; the adapter unmerged, as a bundle has it |
| vllm | `embedding rows`: rows of the model's own table, adapter merged, one number out |
| vllm | `prompt embeds`: embeddings sent with each prompt, adapter merged, two log-probabilities out |
| vllm | `prompt embeds, adapter`: the same with the adapter served beside the weights |

Models: a Llama of hidden size 256 with 4 layers, and one of hidden size 64 with one layer, which
computes next to nothing: its rate is what vLLM's own work for each request allows. Both have random
weights and a LoRA adapter of rank 8. Prompts as in `engines.py`: prefix 150 tokens with eleven slots,
suffix 25 with one. Every engine has a process of its own; they take turns on the same users, and a
ratio is the median of the ratios of the turns. Every turn begins with an empty prefix cache.

`top10_changed` is the share of users whose ten best items, in order, are not those of the packed
engine in float32. With random weights margins lie close together, so it is an upper bound in kind.
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
from pathlib import Path

import numpy as np

from ccf_batch.base.fingerprint import describe_machine, versions

PREFIX, SUFFIX, ITEMS, VOCABULARY, MAX_TOKENS, BUDGET = 150, 25, 2000, 8192, 256, 3072
MODELS = {"4 layers of 256": (256, 4), "1 layer of 64": (64, 1)}
MODES = {
    "packed": ("packed", "rows"),
    "rows": ("vllm", "embedding rows"),
    "embeds": ("vllm", "prompt embeds"),
    "lora": ("vllm", "prompt embeds, adapter"),
}


def model(name: str, dtype: str):
    "The language model, with an adapter that says something: the same weights in each process."
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from ccf_batch.lm.causal_lm import LM, nano_tokenizer, with_lora
    from ccf_batch.settings import Settings

    hidden, layers = MODELS[name]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=-(-hidden * 8 // 3 // 16) * 16,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
    )
    net = LlamaForCausalLM(config).eval()
    tokenizer = nano_tokenizer([f"Film {k}" for k in range(50)], Settings())
    kind = getattr(torch, dtype)
    lm = LM(net, tokenizer, 11, 12, kind, "", {"kind": "nano"})
    with torch.no_grad():
        net.lm_head.weight.normal_(std=0.2)  # margins of a size of about 1 to 3
        lm = with_lora(lm, Settings())
        for key, weight in lm.model.named_parameters():
            if "lora_B" in key:
                weight.normal_(std=0.05)
    lm.model = lm.model.to(kind)
    return lm


def workload(name: str, users: int, candidates: int):
    "Groups, suffixes, slot rows of users and items: random, the same in each process."
    import torch

    from ccf_batch.data.ragged import offsets_of
    from ccf_batch.lm.prompt import Groups, Suffixes

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
    rows = torch.randn(users + ITEMS, MODELS[name][0]) * 0.02
    return groups, Suffixes(suffix.ravel(), offsets_of(np.full(ITEMS, SUFFIX))), rows


class Counted:
    "One of the package's engines: what it computes and reads from its cache it counts itself."

    def __init__(self, mode, lm, suffixes, rows, users, folder):
        self.users = rows[:users]
        if mode == "packed":
            from ccf_batch.lm.packed import PackedEngine

            self.engine = PackedEngine(lm, suffixes, rows[users:], BUDGET, MAX_TOKENS)
        else:
            from ccf_batch.lm.vllm import VllmEngine

            folder = Path(folder) / "serving"
            self.engine = VllmEngine(
                lm, suffixes, rows[users:], BUDGET, MAX_TOKENS, folder, "x", users
            )

    def score(self, groups):
        "Margins; tokens computed."
        before = self.engine.tokens
        return self.engine.score(groups, self.users), self.engine.tokens - before


class Embeds:
    "vLLM with the embeddings of each prompt, as a generator of one token."

    def __init__(self, mode, lm, suffixes, rows, users, folder):
        import torch

        from ccf_batch.lm import checkpoint, vllm

        self.suffixes, self.answers = suffixes, [lm.yes_id, lm.no_id]
        table = lm.base.get_input_embeddings().weight
        self.table = torch.cat([table, rows.to(table.dtype)]).detach()
        if mode == "lora":
            lm.model.save_pretrained(f"{folder}/adapter")
            weights = {k.replace(".base_layer", ""): w for k, w in lm.base.state_dict().items()}
            weights = {k: w for k, w in weights.items() if "lora_" not in k}
        else:
            weights = checkpoint.merge_adapter(lm)
        lm.base.config.save_pretrained(folder)
        lm.tokenizer.save_pretrained(folder)
        from safetensors.torch import save_file

        save_file({k: w.contiguous() for k, w in weights.items()}, f"{folder}/model.safetensors")
        with vllm._at_home():
            from vllm import LLM
            from vllm.lora.request import LoRARequest

            self.adapter = LoRARequest("x", 1, f"{folder}/adapter") if mode == "lora" else None
            self.llm = LLM(
                folder,
                dtype=str(lm.dtype).removeprefix("torch."),
                seed=0,
                enable_prompt_embeds=True,
                max_model_len=MAX_TOKENS,
                max_num_seqs=vllm.AT_ONCE,
                max_num_batched_tokens=BUDGET,
                enable_prefix_caching=True,
                block_size=vllm.BLOCK,
                kv_cache_memory_bytes=vllm.cache_bytes(
                    lm.base.config, lm.dtype, BUDGET, MAX_TOKENS
                ),
                enforce_eager=True,
                enable_lora=mode == "lora",
                disable_log_stats=True,
                use_tqdm_on_load=False,
            )

    def score(self, groups):
        "Margins; tokens computed."
        import torch
        from vllm import SamplingParams

        from ccf_batch.lm.packed import full_prompts

        assert self.llm.reset_prefix_cache()
        one = SamplingParams(
            max_tokens=1, temperature=0, logprob_token_ids=self.answers, detokenize=False
        )
        ids = full_prompts(groups, self.suffixes)
        prompts = [{"prompt_embeds": self.table[torch.from_numpy(i)]} for i in ids]
        more = {"lora_request": self.adapter} if self.adapter else {}
        found = self.llm.generate(prompts, one, use_tqdm=False, **more)
        said = [answer.outputs[0].logprobs[0] for answer in found]
        yes, no = self.answers
        margins = np.array([s[yes].logprob - s[no].logprob for s in said], np.float32)
        return margins, sum(map(len, ids)) - sum(answer.num_cached_tokens for answer in found)


def worker(pipe, mode: str, name: str, dtype: str, users: int, candidates: int):
    "A process that scores the users it is told to, each time."
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    groups, suffixes, rows = workload(name, users, candidates)
    lm = model(name, dtype)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        kind = Counted if mode in ("packed", "rows") else Embeds
        engine = kind(mode, lm, suffixes, rows, users, folder)
        pipe.send(time.perf_counter() - start)
        while (pairs := pipe.recv()) is not None:
            part = groups.take(pairs)
            start = time.perf_counter()
            margins, tokens = engine.score(part)
            seconds = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            pipe.send((seconds, tokens, margins, peak))


def top(margins: np.ndarray, candidates: int) -> np.ndarray:
    "Places of each user's ten best candidates, in order."
    return np.argsort(-margins.reshape(-1, candidates), axis=1, kind="stable")[:, :10]


def compare(
    name: str, dtype: str, candidates: int, pairs: int, turns: int, reference
) -> list[dict]:
    "One row an engine; `reference` holds the margins of the packed engine in float32."
    context = multiprocessing.get_context("spawn")
    users = max(20, turns * -(-pairs // turns // candidates))
    pipes, processes, started = {}, [], {}
    seen: dict[str, list] = {mode: [] for mode in MODES}
    for mode in MODES:
        pipes[mode], theirs = context.Pipe()
        process = context.Process(
            target=worker, args=(theirs, mode, name, dtype, users, candidates), daemon=True
        )
        process.start()
        theirs.close()
        processes.append(process)
        started[mode] = pipes[mode].recv()
        pipes[mode].send(np.arange(candidates))  # warm
        pipes[mode].recv()
    for part in np.array_split(np.arange(users), turns):
        chosen = np.arange(part[0] * candidates, (part[-1] + 1) * candidates)
        for mode, pipe in pipes.items():
            pipe.send(chosen)
            seen[mode].append(pipe.recv())
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(None)
        process.join()
    margins = {mode: np.concatenate([run[2] for run in runs]) for mode, runs in seen.items()}
    reference.setdefault((name, candidates), margins["packed"])
    exact, whole = reference[name, candidates], users * candidates * (PREFIX + SUFFIX)
    least = users * (PREFIX + SUFFIX * candidates)
    rows = []
    for mode, runs in seen.items():
        tokens = sum(run[1] for run in runs)
        times = zip(seen["packed"], runs, strict=True)
        changed = (top(margins[mode], candidates) != top(exact, candidates)).any(axis=1)
        rows.append(
            {
                "model": name,
                "dtype": dtype,
                "engine": MODES[mode][0],
                "injection": MODES[mode][1],
                "prefix": PREFIX,
                "suffix": SUFFIX,
                "candidates": candidates,
                "users": users,
                "pairs_per_s": round(statistics.median(len(run[2]) / run[0] for run in runs), 1),
                "packed_times_as_fast": round(statistics.median(b[0] / a[0] for a, b in times), 2),
                "prefix_hit_share": round(1 - tokens / whole, 4),
                "prefix_share_possible": round(1 - least / whole, 4),
                "max_abs_margin_diff": float(np.abs(margins[mode] - margins["packed"]).max()),
                "top10_changed": round(float(changed.mean()), 4),
                "start_s": round(started[mode], 1),
                "peak_rss_mb": round(max(run[3] for run in runs)),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small case, under a minute")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    args = parser.parse_args()
    packages = ("torch", "transformers", "numpy", "ccf_batch")
    from ccf_batch.model.engines import vllm_version

    result = {
        "machine": describe_machine(),
        "versions": versions(packages) | {"vllm": vllm_version()},
        "rows": [],
    }
    large, small = MODELS
    cases = [(large, 5), (large, 20), (large, 100), (small, 20)]
    pairs, turns, dtypes, reference = 1000, 5, args.dtypes, {}
    if args.quick:
        cases, pairs, turns, dtypes = [("1 layer of 64", 20)], 200, 2, ["float32"]
    for dtype in dtypes:
        for name, n in cases:
            result["rows"] += compare(name, dtype, n, pairs, turns, reference)
            args.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
