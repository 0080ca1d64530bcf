"`benchmarks/bases.py`: a dozen of its folders through the product's door, against plain transformers."

import dataclasses
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from ccf_batch.lm.packed import Difference

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "bases.py"
RIGHT = {  # and what LoRA adapts there
    "llama": "q_proj",
    "qwen2": "q_proj",
    "gemma3_text, window of the longest prompt": "q_proj",
    "gemma2": "q_proj",
    "gpt2": "c_attn",
    "mixtral": "q_proj",
    "olmo2": "q_proj",
    "phi3": "qkv_proj",
    "deepseek_v3": "kv_b_proj",
    "granite": "q_proj",
    "granitemoehybrid, attention only": "q_proj",
    "cohere": "q_proj",
}
REFUSED = {
    "mamba": "linear_attention",
    "mistral, window 64": "the last 64 tokens",
    "phi3, longrope beyond its first length": "longrope",
    "gemma4_text, embeddings in each layer": "cannot be packed",
    "llama4_text, full attention": "no decoder apart from its head",
    "bart, encoder-decoder": "is an encoder-decoder",
    "gpt_oss": "s_aux",
    "bert, decoder": "not those of its head",
}


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("benchmarks_bases", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_type_is_in_the_table_or_left_out_for_a_reason(bench):
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as OFFERED

    kinds = {bench.model_type_of(name) for name in bench.FOLDERS}
    assert kinds | bench.LEFT_OUT.keys() == set(OFFERED)
    assert not kinds & bench.LEFT_OUT.keys()


@pytest.mark.parametrize("name", RIGHT)
def test_margins_are_those_of_plain_transformers(bench, name, tmp_path):
    row = bench.check(name, tmp_path)
    assert row["verdict"] == "right", row
    assert all(row[user]["margin"] > 0.05 for user in bench.Case.USERS)
    assert RIGHT[name] in row["lora_targets"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_served_is_refused_in_words(bench, name, tmp_path):
    row = bench.check(name, tmp_path)
    assert row["verdict"] == "refused" and REFUSED[name] in row["words"], row
    assert not bench.failed(row)


def test_a_base_that_the_check_would_let_through_is_wrong(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ccf_batch.lm.packed.check_parity",
        lambda lm, max_tokens: Difference(0.0, 0.0, 1.0, 1.0, lm.dtype),
    )
    row = bench.check("gemma3_text, bidirectional", tmp_path)
    assert row["verdict"] == "WRONG" and bench.failed(row)
    assert "1 wrong" in bench.summary_of([row])


def test_another_error_than_a_refusal_is_a_traceback(bench, tmp_path, monkeypatch):
    def broken(lm, max_tokens):
        raise KeyError("layer")

    monkeypatch.setattr("ccf_batch.lm.packed.check_parity", broken)
    row = bench.check("llama", tmp_path)
    assert row["verdict"] == "traceback" and bench.failed(row)
    assert "KeyError at" in row["words"]


def test_the_longest_prompts_are_of_the_lengths_wanted(bench):
    case = bench.case_of("llama", 100, 8, 300)
    lengths = np.array([len(ids) for ids in case.prompts()])
    longest = [lengths[case.groups.group_of == g].max() for g in range(len(case.USERS))]
    assert longest == [bench.SHORT, 300, bench.TEXT]


def test_a_folder_has_the_same_bytes_each_time(bench, tmp_path):
    sizes = dataclasses.replace(bench.Sizes(), hidden=32)
    for k in range(2):
        bench.write_folder("llama", tmp_path / str(k), sizes)
    first, again = ((tmp_path / str(k) / "model.safetensors").read_bytes() for k in range(2))
    assert first == again
