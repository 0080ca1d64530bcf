"""Every decoder-only type that `AutoModelForCausalLM` offers, as a tiny base, against plain transformers.

    python benchmarks/bases.py [--only llama,qwen3] [--vllm] [--dtype bfloat16] --out FILE.json

`FOLDERS` is a table of configurations: a model type, or a type and a variant. Each is written as a
folder (3 layers, random weights of std 0.15, disturbed norms and biases, a byte-level tokenizer), and
goes through `causal_lm.load`, `with_lora`, random values in the adapter, and `packed.check_parity`.
What that lets in is compared with an oracle that shares no code with the engine: the saved folder and
the saved adapter, loaded anew, eager attention, one prompt at a time, both logits of the model's own
forward. One pack holds a user with prompts of up to 16 tokens, one with prompts of up to
`prompt.max_tokens`, both with slots, and one whose prompts are text alone; the oracle reads slots as
`inputs_embeds` and text as `input_ids`.

| verdict | |
|---|---|
| right | every margin is within 1e-4 × max(1, largest margin of its user) of the oracle's |
| WRONG | accepted, and it is not |
| refused | an `InputError`, with its words |
| traceback | any other exception: a defect, of the product or of the table |

In bf16 the oracle stays in float32. A user's median difference may be the engine's tolerance and twice
the library's own (`rounding`: what bf16 makes of the oracle); not the largest one, since an expert that is
chosen by rounding changes one margin or another at will.

The exit code is 1 where a folder is WRONG or a traceback. With `--vllm` (twice the sizes: heads of 32)
vLLM's margins are compared with the same oracle, each folder in a process that may die.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import logging
import os
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ccf_batch.base.errors import InputError
from ccf_batch.base.fingerprint import describe_machine, versions

if TYPE_CHECKING:
    import torch

    from ccf_batch.lm.causal_lm import LM
    from ccf_batch.lm.prompt import Groups, Suffixes
    from ccf_batch.settings import Settings

STD, DISTURBANCE, LORA_STD, SLOT_STD = 0.15, 0.1, 0.1, 0.3
MOST_WEIGHTS = 2_000_000  # a size that the table forgot would be its type's own
TOLERANCE = 1e-4  # float32
SHORT, TEXT = 16, 40  # tokens of the longest prompt of two of the users
VLLM_BUDGET, BLOCK = 2048, 8

# what a configuration gets where its class has the field; words stand for values of `config_of`
GENERAL = {
    "vocab_size": "vocabulary",
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "attention_hidden_size"), "hidden"),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_blocks"), 3),
    "decoder_layers": 3,
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    "decoder_attention_heads": 4,
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("head_dim", "dim_head"), "head"),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "dff", "dim_ff", "d_inner"), 96),
    **dict.fromkeys(("ffn_hidden_size", "decoder_ffn_dim"), 96),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), "positions"),
    **dict.fromkeys(("n_ctx", "sliding_window"), "positions"),
    "bos_token_id": 0,
    **dict.fromkeys(("eos_token_id", "pad_token_id", "sep_token_id"), 1),
    # experts
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    "moe_num_experts": 4,
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts"), 2),
    **dict.fromkeys(("moe_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("shared_expert_intermediate_size", "shared_intermediate_size"), 32),
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    # latent attention, and indexers
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 32),
    **dict.fromkeys(("qk_nope_head_dim", "v_head_dim", "index_head_dim"), "head"),
    "qk_rope_head_dim": "half head",
    "index_n_heads": 2,
    # state space and linear attention
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 16),
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    **dict.fromkeys(("state_size", "mamba_d_state", "mamba_d_head", "mamba_headdim"), 16),
    **dict.fromkeys(("mamba_n_heads", "n_mamba_heads"), "mamba heads"),
}
# keys of latent attention are as many as its queries
LATENT = {"num_key_value_heads": 4}
KIMI = {**LATENT, "linear_head_dim": 16, "linear_num_heads": 4}
SLIDING, FULL, LINEAR = "sliding_attention", "full_attention", "linear_attention"
MIXED, ONLY_FULL = {"layer_types": [SLIDING, FULL, SLIDING]}, {"layer_types": [FULL] * 3}
WINDOW_64, WINDOW_EDGE = {"sliding_window": 64}, {"sliding_window": "longest"}
ROPE = {"rope_theta": 10000.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, **ROPE}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
    **ROPE,
}


def longrope(original: int) -> dict:
    "Rope whose factors change where a prompt is longer than the model was first trained on."
    factors = {"short_factor": "ones", "long_factor": "long factors"}
    rope = {"rope_type": "longrope", "factor": 2048 / original, **factors, **ROPE}
    rope["original_max_position_embeddings"] = original
    return {"rope_parameters": rope, "max_position_embeddings": 2048}


# a folder's name, type first, and what its configuration says besides
FOLDERS: dict[str, dict] = {
    "afmoe": {**MIXED, "num_dense_layers": 1, "mup_enabled": True},
    "apertus": {},
    "arcee": {},
    "aria_text": {},
    "axk1": LATENT,
    "axk2": LATENT,
    "bamba": {"attn_layer_indices": [1]},
    "bart": {"is_encoder_decoder": False, "is_decoder": True},
    "bart, encoder-decoder": {
        "encoder_layers": 3,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 96,
    },
    "bert": {},
    "bert, decoder": {"is_decoder": True},
    "biogpt": {},
    "bitnet": {},
    "bloom": {},
    "codegen": {"rotary_dim": 8},
    "cohere": {},
    "cohere, logit_scale 1": {"logit_scale": 1.0},
    "cohere, norms of queries and keys": {"logit_scale": 1.0, "use_qk_norm": True},
    "cohere2": MIXED,
    "cohere2, logit_scale 1": {**MIXED, "logit_scale": 1.0},
    "cohere2_moe": MIXED,
    "cohere2_moe, logit_scale 1": {**MIXED, "logit_scale": 1.0},
    "cohere_compass_text": {
        "rope_parameters": {FULL: {"rope_type": "default", "mrope_section": "sections", **ROPE}}
    },
    "cpmant": {},
    "ctrl": {},
    "cwm": {},
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "deepseek_v3, queries of full rank": {**LATENT, "q_lora_rank": None},
    "deepseek_v32": LATENT,
    "deepseek_v4": {"num_key_value_heads": 1, "o_groups": 2, "o_lora_rank": 16},
    "diffllama": {},
    "doge": {},
    "dots1": {"n_shared_experts": 1},
    "ernie4_5": {},
    "ernie4_5_moe": {"moe_num_shared_experts": 1, "moe_intermediate_size": 32},
    "exaone4": MIXED,
    "exaone_moe": MIXED,
    "falcon": {},
    "falcon, alibi": {"alibi": True},
    "falcon, new architecture": {"new_decoder_architecture": True},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4},
    "falcon_mamba": {},
    "flex_olmo": {},
    "gemma": {},
    "gemma2": {},
    "gemma2, without caps": {"final_logit_softcapping": None, "attn_logit_softcapping": None},
    "gemma2, attention's cap": {"final_logit_softcapping": None},
    "gemma2, logits' cap": {"attn_logit_softcapping": None},
    "gemma3_text": MIXED,
    "gemma3_text, window of the longest prompt": {**MIXED, **WINDOW_EDGE},
    "gemma3_text, window 64": {**MIXED, **WINDOW_64},
    "gemma3_text, bidirectional": {**MIXED, "use_bidirectional_attention": True},
    "gemma3n_text": {
        **MIXED,
        "num_kv_shared_layers": 0,
        "vocab_size_per_layer_input": "vocabulary",
        "hidden_size_per_layer_input": 16,
        "laurel_rank": 8,
    },
    "gemma4_text": {"hidden_size_per_layer_input": 0, "layer_types": [SLIDING, FULL, FULL]},
    "gemma4_text, experts": {
        "hidden_size_per_layer_input": 0,
        "layer_types": [SLIDING, FULL, FULL],
        "enable_moe_block": True,
    },
    "gemma4_text, shared keys and values": {
        "hidden_size_per_layer_input": 0,
        "layer_types": [SLIDING, FULL, FULL],
        "num_kv_shared_layers": 1,
    },
    "gemma4_text, keys are values": {
        "hidden_size_per_layer_input": 0,
        "layer_types": [SLIDING, FULL, FULL],
        "attention_k_eq_v": True,
    },
    "gemma4_text, embeddings in each layer": {
        "layer_types": [SLIDING, FULL, FULL],
        "vocab_size_per_layer_input": "vocabulary",
        "hidden_size_per_layer_input": 16,
    },
    "gemma4_unified_text": {"layer_types": [SLIDING, FULL, FULL]},
    "glm": {},
    "glm4": {},
    "glm4_moe": {},
    "glm4_moe_lite": LATENT,
    "glm_moe_dsa": LATENT,
    "gpt-sw3": {},
    "gpt2": {},
    "gpt2, scale by layer": {"scale_attn_by_inverse_layer_idx": True},
    "gpt_bigcode": {},
    "gpt_bigcode, multi-head": {"multi_query": False},
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]], "window_size": 64},
    "gpt_neox": {},
    "gpt_neox, in sequence": {"use_parallel_residual": False},
    "gpt_neox_japanese": {},
    "gpt_oss": {},
    "gptj": {"rotary_dim": 8},
    "granite": {
        "embedding_multiplier": 12.0,
        "attention_multiplier": 0.1,
        "residual_multiplier": 0.22,
        "logits_scaling": 8.0,
    },
    "granite, logits_scaling 1": {
        "embedding_multiplier": 12.0,
        "attention_multiplier": 0.1,
        "residual_multiplier": 0.22,
    },
    "granite_swa": {},
    "granite_swa, window 128": {"sliding_window": 128},
    "granitemoe": {},
    "granitemoe_swa": {},
    "granitemoehybrid": {"layer_types": [LINEAR, FULL, LINEAR]},
    "granitemoehybrid, attention only": {**ONLY_FULL, "position_embedding_type": "rope"},
    "granitemoehybrid, without positions": ONLY_FULL,
    "granitemoeshared": {},
    "helium": {},
    "hrm_text": {},
    "hunyuan_v1_dense": {},
    "hunyuan_v1_moe": {},
    "hy_v3": {},
    "hy_v4": LATENT,
    "hyperclovax": {},
    "inkling_text": {
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 2,
        "swa_head_dim": "head",
        "sliding_window_size": "positions",
    },
    "jais2": {},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "jetmoe": {"kv_channels": "head"},
    "kimi_linear": {**KIMI, "layer_types": [LINEAR, FULL, FULL]},
    "kimi_linear, attention only": {**KIMI, **ONLY_FULL},
    "laguna": {},
    "lfm2": {},
    "lfm2, convolutions": {"layer_types": ["conv", FULL, "conv"]},
    "lfm2_moe": {**ONLY_FULL, "num_dense_layers": 1},
    "llama": {},
    "llama, tied": {"tie_word_embeddings": True},
    "llama, biases": {"attention_bias": True, "mlp_bias": True},
    "llama, llama3": {"rope_parameters": LLAMA3},
    "llama, yarn": {"rope_parameters": YARN},
    "llama, dynamic": {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, **ROPE}},
    "llama, longrope beyond its first length": longrope(128),
    "llama, longrope within its first length": longrope(1024),
    "llama4_text": {"intermediate_size_mlp": 96},
    "llama4_text, full attention": {**ONLY_FULL, "intermediate_size_mlp": 96},
    "longcat_flash": {"zero_expert_num": 2},
    "mamba": {},
    "mamba2": {"num_heads": "mamba heads", "head_dim": 16},
    "mellum": {},
    "mimo_v2_flash": {},
    "minicpm3": LATENT,
    "minicpm3, logits_scaling 1": {**LATENT, "dim_model_base": "hidden"},
    "minimax": {},
    "minimax, full attention": ONLY_FULL,
    "minimax_m2": {},
    "minimax_m3_vl_text": {},
    "ministral": {},
    "ministral3": {},
    "mistral": {},
    "mistral, window of the longest prompt": WINDOW_EDGE,
    "mistral, window 64": WINDOW_64,
    "mixtral": {},
    "mixtral, window 64": WINDOW_64,
    "modernbert-decoder": {"local_attention": "positions"},
    "modernbert-decoder, window 64": {},
    "mpt": {},
    "nanochat": {},
    "nanochat, without a cap": {"final_logit_softcapping": None},
    "nemotron": {},
    "nemotron_h": {
        "mamba_num_heads": "mamba heads",
        "mamba_head_dim": 16,
        "n_groups": 1,
        "moe_shared_expert_intermediate_size": 32,
    },
    "olmo": {},
    "olmo, clipped": {"clip_qkv": 1.0},
    "olmo2": {},
    "olmo3": MIXED,
    "olmo_hybrid": {},
    "olmoe": {},
    "openai-gpt": {},
    "opt": {},
    "opt, projected, norms after": {"word_embed_proj_dim": 32, "do_layer_norm_before": False},
    "persimmon": {},
    "phi": {},
    "phi, norms of queries and keys": {"qk_layernorm": True},
    "phi3": {},
    "phi3, longrope beyond its first length": {
        **longrope(128),
        "original_max_position_embeddings": 128,
    },
    "phi3, window 64": WINDOW_64,
    "phimoe": {},
    "qwen2": {},
    "qwen2, window 64": {**WINDOW_64, "use_sliding_window": True, "max_window_layers": 1},
    "qwen2_moe": {},
    "qwen3": {},
    "qwen3_5_moe_text": {},
    "qwen3_5_text": {"layer_types": [LINEAR, LINEAR, FULL]},
    "qwen3_moe": {},
    "qwen3_next": {"layer_types": [LINEAR, LINEAR, FULL]},
    "qwen3_next, full attention": ONLY_FULL,
    "qwen4_exp_text": {"layer_types": [LINEAR] * 3, "hc_lowrank": 16},
    "recurrent_gemma": {"lru_width": "hidden", "attention_window_size": "positions"},
    "reformer": {"is_decoder": True, "axial_pos_embds": False, "attn_layers": ["local"] * 3},
    "roberta, decoder": {"is_decoder": True},
    "rwkv": {},
    "seed_oss": {},
    "smollm3": {"no_rope_layer_interval": 2},
    "solar_open": {},
    "stablelm": {},
    "starcoder2": {},
    "vaultgemma": {},
    "vaultgemma, without caps": {"final_logit_softcapping": None, "attn_logit_softcapping": None},
    "xglm": {},
    "xlnet": {},
    "xlstm": {"qk_dim_factor": 0.5},
    "youtu": LATENT,
    "zamba": {"layers_block_type": ["hybrid", LINEAR, "hybrid"], "n_mamba_heads": 2},
    "zamba2": {"layers_block_type": ["hybrid", LINEAR, "hybrid"], "mamba_ngroups": 1},
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
}
ENCODER = "an encoder, whose head predicts masked words (bert and roberta stand for them)"
HALF = "the decoder of an encoder-decoder, with attention to an encoder (bart stands for them)"
SHELL = "a shell of several modalities"
LEFT_OUT = {
    **dict.fromkeys(("bert-generation", "big_bird", "camembert", "data2vec-text"), ENCODER),
    **dict.fromkeys(("electra", "ernie", "megatron-bert", "rembert", "roc_bert"), ENCODER),
    **dict.fromkeys(("roberta-prelayernorm", "roformer", "xlm", "xlm-roberta"), ENCODER),
    **dict.fromkeys(("xlm-roberta-xl", "xmod"), ENCODER),
    **dict.fromkeys(("bigbird_pegasus", "blenderbot", "blenderbot-small", "marian"), HALF),
    **dict.fromkeys(("mbart", "mvp", "pegasus", "plbart", "prophetnet"), HALF),
    **dict.fromkeys(("trocr", "whisper", "musicgen", "musicgen_melody", "moshi"), HALF),
    **dict.fromkeys(("emu3", "fuyu", "git", "got_ocr2", "mllama", "phi4_multimodal"), SHELL),
    **dict.fromkeys(("gemma3", "gemma3n", "gemma4", "gemma4_unified", "llama4"), SHELL),
    **dict.fromkeys(("qwen3_5", "qwen3_5_moe", "qwen4_exp"), SHELL),
    "gemma4_assistant": "drafts tokens from another model's states",
    "gemma4_unified_assistant": "drafts tokens from another model's states",
    "blt": "reads bytes in patches, without a vocabulary",
    "dbrx": "cannot be built in transformers 5.19 (its attention has no rope_theta)",
}


# -- folders --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Sizes:
    "What all folders of a run have in common."

    max_tokens: int = 512
    hidden: int = 64
    dtype: str = "float32"

    @property
    def head(self) -> int:
        return self.hidden // 4


def model_type_of(name: str) -> str:
    return name.partition(",")[0]


def seed_of(name: str) -> int:
    return zlib.crc32(name.encode())


def quiet() -> None:
    "Say nothing of weights and defaults: a row says what matters."
    from transformers.utils import logging as of_transformers

    of_transformers.set_verbosity_error()
    of_transformers.disable_progress_bar()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")


@functools.cache
def tokenizer_of():
    "A byte-level BPE of some 800 tokens, of titles of made-up words."
    from ccf_batch.lm.causal_lm import nano_tokenizer
    from ccf_batch.settings import Settings

    rng = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprstv" for b in ("a", "e", "i", "o", "u")]
    words = ["".join(rng.choice(syllables, rng.integers(1, 4))) for _ in range(300)]
    titles = [" ".join(rng.choice(words, rng.integers(1, 4))).title() for _ in range(200)]
    return nano_tokenizer(titles, Settings())


def config_of(name: str, vocabulary: int, sizes: Sizes):
    "The configuration of a folder: the general sizes, then what the table says."
    from transformers import CONFIG_MAPPING

    half = sizes.head // 2
    words = {
        "vocabulary": vocabulary,
        "hidden": sizes.hidden,
        "head": sizes.head,
        "half head": half,
        "mamba heads": 2 * sizes.hidden // 16,
        "longest": sizes.max_tokens,
        "positions": max(2048, 2 * sizes.max_tokens),
        "ones": [1.0] * half,
        "sections": [half // 2, half // 4, half // 4],
        "long factors": np.linspace(1, 4, half).tolist(),
    }

    def filled(value):
        if isinstance(value, dict):
            return {k: filled(v) for k, v in value.items()}
        return words.get(value, value) if isinstance(value, str) else value

    kind = CONFIG_MAPPING[model_type_of(name)]
    fields = {field.name for field in dataclasses.fields(kind)}
    general = {k: v for k, v in GENERAL.items() if k in fields}
    return kind(**filled(general | FOLDERS[name]))


def write_folder(name: str, folder: Path, sizes: Sizes) -> None:
    "Write a base as users supply it: a model of random weights, and a tokenizer beside it."
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    tokenizer = tokenizer_of()
    torch.manual_seed(seed_of(name))
    config = config_of(name, len(tokenizer) + 7, sizes)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.device("meta"):
        count = sum(p.numel() for p in kind.from_config(config).parameters())
    assert count <= MOST_WEIGHTS, f"{name} has {count} weights: FOLDERS lacks one of its sizes"
    model = kind.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=STD) if p.ndim > 1 else p.add_(torch.randn_like(p), alpha=DISTURBANCE)
        for key, buffer in model.named_buffers():
            if "bias" in key and buffer.is_floating_point() and key in model.state_dict():
                buffer.add_(torch.randn_like(buffer), alpha=DISTURBANCE)  # routing
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


# -- prompts, and what plain transformers says of them --------------------------------------------


@dataclasses.dataclass(frozen=True)
class Case:
    "One pack: three users with four candidates each, of which the last user's have no slots."

    groups: Groups
    suffixes: Suffixes
    users: torch.Tensor  # [3, d] slot rows
    items: torch.Tensor  # [8, d]

    USERS: ClassVar = ("short", "long", "text")

    def prompts(self) -> list[np.ndarray]:  # [C] of int64
        "Write each pair's prompt out, slots as ids from V on."
        groups, ends, found = self.groups, self.suffixes.offsets, []
        for g, row in zip(groups.group_of, groups.candidate, strict=True):
            prefix = groups.prefix_ids[slice(*groups.prefix_offsets[g : g + 2])]
            suffix = self.suffixes.ids[slice(*ends[row : row + 2])]
            found.append(np.concatenate([prefix, suffix]).astype(np.int64))
        return found


def case_of(name: str, vocabulary: int, hidden: int, max_tokens: int) -> Case:
    "Random prompts and slot rows; the longest prompts are of exactly the lengths wanted."
    import torch

    from ccf_batch.data.ragged import offsets_of
    from ccf_batch.lm.prompt import Groups, Suffixes

    rng, V = np.random.default_rng(seed_of(name)), vocabulary
    lengths = np.array([5, 1, 4, 5, 5, 3, 4, 2])
    suffix = rng.integers(2, V, size=lengths.sum()).astype(np.int32)
    suffix[offsets_of(lengths)[:4]] = V + BLOCK + np.arange(4)
    prefix = np.array([SHORT, max_tokens, TEXT]) - lengths.max()
    starts = offsets_of(prefix)
    ids = rng.integers(2, V, size=starts[-1]).astype(np.int32)
    ids[starts[:-1]] = 0  # BOS
    for g in (0, 1):
        ids[starts[g + 1] - 3] = V + g
        ids[starts[g] + [2, 5]] = V + BLOCK + rng.integers(4, size=2)
    candidate = np.array([0, 1, 2, 3, 3, 2, 1, 0, 4, 5, 6, 7], np.int32)
    groups = Groups(
        prefix_ids=ids,
        prefix_offsets=starts,
        candidate=candidate,
        candidate_offsets=np.array([0, 4, 8, 12]),
        offset=np.zeros(len(candidate), np.float32),
        rejected=np.zeros(len(candidate), bool),
        vocab_rows=V,
        block=BLOCK,
    )
    random = torch.Generator().manual_seed(seed_of(name))
    users, items = (SLOT_STD * torch.randn(n, hidden, generator=random) for n in (3, 8))
    return Case(groups, Suffixes(suffix, offsets_of(lengths)), users, items)


def oracle(folder: Path, adapter: Path, case: Case, answers: tuple[int, int], dtype) -> np.ndarray:
    "Margins by the library alone: base and adapter loaded anew, one prompt at a time, whole head."
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    options = {"attn_implementation": "eager", "dtype": torch.float32, "local_files_only": True}
    base = AutoModelForCausalLM.from_pretrained(folder, **options).to(dtype)
    model = PeftModel.from_pretrained(base, adapter).eval()
    V, yes_no = case.groups.vocab_rows, list(answers)
    margins = []
    with torch.no_grad():
        for ids in map(torch.from_numpy, case.prompts()):
            if (ids < V).all():
                out = model(input_ids=ids[None], use_cache=False)
            else:  # a slot takes the place of what the embedding layer gives for a token
                embeds = base.get_input_embeddings()(ids.clamp(max=V - 1)).clone()
                for at in torch.nonzero(ids >= V).flatten().tolist():
                    slot = int(ids[at]) - V
                    rows, row = (case.users, slot) if slot < BLOCK else (case.items, slot - BLOCK)
                    embeds[at] = rows[row].to(dtype)
                out = model(inputs_embeds=embeds[None], use_cache=False)
            yes, no = out.logits[0, -1, yes_no].double()
            margins.append(float(yes - no))
    return np.array(margins)


# -- the product's door ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Expected:
    "What the library says of a case."

    margin: np.ndarray  # float64 [C] in float32
    rounded: np.ndarray | None  # in the dtype that is measured, where that is another
    tolerance: float


def compare(found: np.ndarray, case: Case, expected: Expected) -> dict:
    "Largest difference and largest margin of each user, and the verdict."
    row, right = {}, True
    for g, name in enumerate(case.USERS):
        here = case.groups.group_of == g
        own = expected.margin[here]
        off, margin = np.abs(found[here] - own), np.abs(own).max()
        row[name] = {"difference": off.max(), "margin": margin}
        allowed = expected.tolerance * max(1.0, margin)
        if expected.rounded is None:
            right &= bool(off.max() <= allowed)  # a NaN is wrong
        else:
            rounding = np.abs(expected.rounded[here] - own)
            row[name]["rounding"] = rounding.max()
            right &= bool(np.median(off) <= allowed + 2 * np.median(rounding))
        row[name] = {k: float(f"{value:.3g}") for k, value in row[name].items()}
    return {"verdict": "right" if right else "WRONG", **row}


def attempt(row: dict, work) -> None:
    "Add to a row what `work` returns, or how it ends."
    try:
        row |= work()
    except InputError as e:
        row |= {"verdict": "refused", "words": str(e)}
    except Exception as e:
        frames = [f for f in traceback.extract_tb(e.__traceback__) if f.name != "attempt"]
        ours = [f for f in frames if {"ccf_batch", "benchmarks"} & set(Path(f.filename).parts)]
        seen = dict.fromkeys(
            f"{Path(f.filename).name}:{f.lineno}" for f in (*ours[-1:], frames[-1])
        )
        first = (str(e).strip().splitlines() or [""])[0]
        words = f"{type(e).__name__} at {', '.join(seen)}: {first}"
        row |= {"verdict": "traceback", "words": words}


def enter(settings: Settings, seed: int, bundle: Path, row: dict) -> LM:
    "Load and adapt a base, check it, and save its adapter; raises `InputError` where it is refused."
    import torch

    from ccf_batch.lm import causal_lm
    from ccf_batch.lm.packed import check_parity

    lm = causal_lm.with_lora(causal_lm.load(settings), settings)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, p in lm.model.named_parameters():
            if "lora_B" in key:
                p.copy_(LORA_STD * torch.randn(p.shape, generator=random))
    row["parity"] = float(f"{check_parity(lm, settings.prompt.max_tokens).largest:.2g}")
    causal_lm.save(lm, bundle)
    adapter = json.loads((bundle / "adapter" / "adapter_config.json").read_text("utf-8"))
    targets = adapter["target_modules"]
    row["lora_targets"] = targets if isinstance(targets, str) else sorted(targets)
    return lm


def expect(lm: LM, folder: Path, adapter: Path, case: Case) -> Expected:
    "Ask the oracle, and in another dtype how far its own rounding goes."
    import torch

    from ccf_batch.lm.packed import TOLERANCE as ENGINES

    asked = folder, adapter, case, (lm.yes_id, lm.no_id)
    own = oracle(*asked, torch.float32)
    if lm.dtype == torch.float32:
        return Expected(own, None, TOLERANCE)
    return Expected(own, oracle(*asked, lm.dtype), ENGINES[lm.dtype])


def by_packed(lm: LM, case: Case) -> np.ndarray:
    "Margins by the packed engine, in one pass."
    import torch

    from ccf_batch.lm.packed import packed_margins

    with torch.inference_mode():
        margin_C = packed_margins(lm, case.users, case.items, case.groups, case.suffixes)
    return margin_C.cpu().numpy()


def by_vllm(lm: LM, case: Case, max_tokens: int, folder: Path) -> np.ndarray:
    "Margins by vLLM, from a serving checkpoint in a folder."
    from ccf_batch.lm.vllm import VllmEngine

    rest = VLLM_BUDGET, max_tokens, folder, "x", BLOCK
    engine = VllmEngine(lm, case.suffixes, case.items, *rest)
    try:
        return engine.score(case.groups, case.users)
    finally:
        engine.close()


def check(name: str, folder: Path, sizes: Sizes = Sizes(), vllm: bool = False) -> dict:
    "Write a folder, bring it through the product's door, and compare; a row of the table."
    from ccf_batch.settings import Settings

    base, bundle = folder / "base", folder / "bundle"
    settings = Settings(
        model={"base": str(base), "dtype": sizes.dtype},
        prompt={"max_tokens": sizes.max_tokens, "template": "full"},
    )
    row = {"folder": name, "model_type": model_type_of(name)}
    accepted = []

    def packed() -> dict:
        write_folder(name, base, sizes)
        lm = enter(settings, seed_of(name), bundle, row)
        case = case_of(name, lm.vocab_rows, lm.hidden, sizes.max_tokens)
        found = by_packed(lm, case)
        expected = expect(lm, base, bundle / "adapter", case)
        accepted.extend((lm, case, expected))
        return compare(found, case, expected)

    def served() -> dict:
        lm, case, expected = accepted
        return compare(by_vllm(lm, case, sizes.max_tokens, folder / "serving"), case, expected)

    attempt(row, packed)
    if vllm and row["verdict"] == "right":
        row["vllm"] = {}
        attempt(row["vllm"], served)
    for part in (row, row.get("vllm", {})):
        if "words" in part:  # the same in each run
            part["words"] = part["words"].replace(f"{folder}/", "")
    return row


# -- the whole table ------------------------------------------------------------------------------


def failed(row: dict) -> bool:
    "Whether a row says that something must be mended."
    return bool({row["verdict"], row.get("vllm", {}).get("verdict")} & {"WRONG", "traceback"})


def worst(rows: list[dict]) -> tuple[float, float]:
    "The largest difference of rows, and that row's margin."
    found = [row[g] for row in rows for g in Case.USERS if g in row]
    top = max(found, key=lambda f: f["difference"], default={"difference": 0.0, "margin": 0.0})
    return top["difference"], top["margin"]


def line_of(row: dict) -> str:
    "A row as a line of progress."
    if row["verdict"] in ("right", "WRONG"):
        said = f"{worst([row])[0]:.1e} of {worst([row])[1]:.1f}"
    else:
        said = row["words"].removeprefix("ccf.toml: model.base = 'base'")
    return f"{row['verdict']:9} {said[:150]}"


def summary_of(rows: list[dict]) -> str:
    kinds = {row["model_type"] for row in rows}
    by = {v: [r for r in rows if r["verdict"] == v] for v in ("right", "refused", "WRONG")}
    lost = len(rows) - sum(map(len, by.values()))
    accepted = len(by["right"]) + len(by["WRONG"])
    return (
        f"{len(rows)} folders of {len(kinds)} types: {accepted} accepted (largest difference of those "
        f"that are right {worst(by['right'])[0]:.1e}), {len(by['refused'])} refused, "
        f"{len(by['WRONG'])} wrong, {lost} tracebacks"
    )


def check_apart(pool, name: str, sizes: Sizes) -> dict:
    "As `check`, with vLLM, in a process of its own, which may die."
    from concurrent.futures.process import BrokenProcessPool

    with tempfile.TemporaryDirectory(prefix="bases-") as work:
        try:
            return pool.submit(check, name, Path(work), sizes, True).result()
        except BrokenProcessPool:
            row = {"folder": name, "model_type": model_type_of(name), "verdict": "traceback"}
            return row | {"words": "the process died (with vLLM)"}


def check_all(names: list[str], sizes: Sizes, vllm: bool):
    "Rows, one after the other."
    if not vllm:
        quiet()
        for name in names:
            with tempfile.TemporaryDirectory(prefix="bases-") as work:
                yield check(name, Path(work), sizes)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # vLLM changes what later models of the process are built with, so it is imported anew each time
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "transformers", "peft", "ccf_batch.lm.packed"])

    def started() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, context, initializer=quiet, max_tasks_per_child=1)

    pool = started()
    for name in names:
        row = check_apart(pool, name, sizes)
        if "the process died" in row.get("words", ""):
            pool.shutdown()
            pool = started()
        yield row
    pool.shutdown()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="TYPES", help="only these model types, comma-separated")
    parser.add_argument("--vllm", action="store_true", help="vLLM too; some 10 seconds a folder")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--max-tokens", type=int, default=512, help="longest prompt")
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    args = parser.parse_args()
    only = [name.strip() for name in (args.only or "").split(",") if name.strip()]
    unknown = set(only) - {model_type_of(name) for name in FOLDERS}
    if unknown:
        parser.error(f"no such types: {', '.join(sorted(unknown))}")
    names = [name for name in FOLDERS if not only or model_type_of(name) in only]
    sizes = Sizes(args.max_tokens, 128 if args.vllm else 64, args.dtype)
    packages = ("torch", "transformers", "peft", "numpy", "ccf_batch")
    result = {
        "machine": describe_machine(),
        "versions": versions(packages),
        "dtype": args.dtype,
        "max_tokens": args.max_tokens,
        "hidden": sizes.hidden,
        "left_out": LEFT_OUT,
        "rows": [],
    }
    if args.vllm:
        from ccf_batch.model.engines import vllm_version

        result["versions"]["vllm"] = vllm_version()
    start = time.perf_counter()
    for k, row in enumerate(check_all(names, sizes, args.vllm), 1):
        result["rows"].append(row)
        print(f"{k:3} of {len(names)} {row['folder']:42} {line_of(row)}", flush=True)
        if "vllm" in row:
            print(f"{'':52} vLLM {line_of(row['vllm'])}", flush=True)
        result["seconds"] = round(time.perf_counter() - start)
        args.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(f"{summary_of(result['rows'])}; {result['seconds']} s")
    if args.vllm:
        served = [row | row["vllm"] for row in result["rows"] if "vllm" in row]
        print(f"vLLM: {summary_of(served)}")
    return int(any(map(failed, result["rows"])))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
