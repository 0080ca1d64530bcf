"A base that would give other answers than its owner has is refused, with the reason and the fix."

import json
import os
import shutil
import subprocess
import sys

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GraniteMoeHybridConfig,
    LlamaConfig,
    MambaConfig,
    Phi3Config,
    XLNetConfig,
)

from ccf_batch.base.errors import InputError
from ccf_batch.lm.base_check import base_check
from ccf_batch.lm.base_files import check_architecture, identify, locate
from ccf_batch.lm.causal_lm import load, load_saved, save, with_lora
from ccf_batch.settings import Settings


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    "A sound base: a tiny Llama whose head is its own, in a folder."
    return tiny.write_base(tmp_path_factory.mktemp("bases") / "llama", "Llama", tied=False)


@pytest.fixture
def base(llama, tmp_path):
    "A copy of the sound base, to be spoilt."
    return shutil.copytree(llama, tmp_path / "base")


def of(base, **more):
    return Settings(model={"base": str(base), **more.pop("model", {})}, **more)


def change_weights(base, change):
    file = base / "model.safetensors"
    weights = load_file(file)
    save_file(change(weights) or weights, file, {"format": "pt"})


def change_config(base, **values):
    file = base / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_sound_base_is_described(llama):
    first, parity, lora = base_check(of(llama))
    assert first.startswith("LlamaForCausalLM, 0.") and "M weights in torch.float32" in first
    assert "prompts of 9 to 512 tokens" in parity
    assert lora == "LoRA adapts q_proj, v_proj: the query and value projections"


def test_a_nano_model_has_no_base():
    assert base_check(Settings()) == []


# weights that the files lack, or that are none


def without_head(weights):
    del weights["lm_head.weight"]


def without_a_layer(weights):
    for name in [name for name in weights if ".layers.1." in name]:
        del weights[name]


def under_a_prefix(weights):
    return {f"_orig_mod.{name}": weight for name, weight in weights.items()}


def of_other_shape(weights):
    weights["model.norm.weight"] = torch.ones(7)


def with_nan(weights):
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")


def with_another_norm(weights):
    weights["model.norm.weight"] *= 2


def with_scales(weights):
    weights["model.layers.0.mlp.up_proj.weight_scale"] = torch.ones(1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without_head, r"lack lm_head\.weight of LlamaForCausalLM.*whole causal LM"),
        (without_a_layer, r"lack model\.layers\.1\..* and 6 more tensors"),
        (under_a_prefix, r"lack .* and 18 more tensors"),
        (of_other_shape, r"model\.norm\.weight has the shape \(7,\).* \(32,\)"),
        (with_nan, r"model\.layers\.1\.mlp\.up_proj\.weight holds NaN"),
        (with_scales, "as quantized weights do"),
    ],
)
def test_weights_that_are_not_all_there(base, change, says):
    change_weights(base, change)
    for what in (base_check, load):
        with pytest.raises(InputError, match=says):
            what(of(base))


def test_tensors_that_are_not_used_are_told(base):
    change_weights(base, lambda w: w | {"vision.proj": torch.ones(2), "vision.norm": torch.ones(2)})
    notes = base_check(of(base))
    assert (
        "its files also hold vision.norm, vision.proj, which LlamaForCausalLM does not use" in notes
    )


def test_a_lost_shard_or_a_file_of_something_else(base):
    (base / "model.safetensors").write_bytes(b"not one")
    with pytest.raises(InputError, match=r"cannot be loaded: \w+"):
        base_check(of(base))


# what the answers depend on is the identity


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda base: change_config(base, rope_parameters={"rope_theta": 500.0}), "config"),
        (lambda base: change_config(base, rms_norm_eps=0.1), "config"),
        (lambda base: change_weights(base, with_another_norm), "weights"),
        (
            lambda base: (base / "tokenizer_config.json").write_text(
                (base / "tokenizer_config.json").read_text() + "\n"
            ),
            "tokenizer",
        ),
    ],
    ids=["rope_theta", "rms_norm_eps", "weights", "tokenizer"],
)
def test_a_base_that_changed_after_training(base, tmp_path, change, part):
    save(with_lora(load(of(base)), of(base)), tmp_path / "bundle")
    load_saved(tmp_path / "bundle", of(base))
    change(base)
    with pytest.raises(InputError, match=f"has another {part} than when this bundle was trained"):
        load_saved(tmp_path / "bundle", of(base))


def test_a_base_that_was_only_saved_again(base):
    before = identify(locate(of(base)))
    change_config(base, transformers_version="5.20.0", dtype="bfloat16", _name_or_path="elsewhere")
    assert identify(locate(of(base))) == before


def test_a_bundle_of_an_earlier_version(base, tmp_path):
    save(load(of(base)), tmp_path)
    old = {"kind": "folder", "base": str(base), "sha256": "0" * 64}
    (tmp_path / "lm" / "source.json").write_text(json.dumps(old))
    with pytest.raises(InputError, match=r"source\.json: was written by an earlier .*train again"):
        load_saved(tmp_path, of(base))


BRANCH = """
import json, sys
from pathlib import Path
import torch
from ccf_batch.lm.causal_lm import load, load_saved, save
from ccf_batch.settings import Settings
cache, first, second, bundle = map(Path, sys.argv[1:])
def publish(folder, commit):
    place = cache / "models--org--name"
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "refs/main").write_text(commit)
    (place / "snapshots").mkdir(exist_ok=True)
    (place / "snapshots" / commit).symlink_to(folder)
settings = Settings(model={"base": "org/name", "revision": "main"})
ids = torch.arange(5, 15)[None]
publish(first, "a" * 40)
trained = load(settings)
save(trained, bundle)
publish(second, "b" * 40)
served, now = load_saved(bundle, settings), load(settings)
z = [lm.model(input_ids=ids).logits for lm in (trained, served, now)]
print(json.dumps([trained.source.revision, served.source.revision, now.source.revision,
    torch.equal(z[0], z[1]), torch.equal(z[0], z[2])]))
"""


def test_a_branch_is_kept_as_the_commit_that_it_named(llama, tmp_path):
    other = shutil.copytree(llama, tmp_path / "other")
    change_weights(other, with_another_norm)
    places = [tmp_path / "cache", llama, other, tmp_path / "bundle"]
    env = os.environ | {"HF_HUB_CACHE": str(places[0]), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", BRANCH, *map(str, places)], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == ["a" * 40, "a" * 40, "b" * 40, True, False]


# adapters, tokenizers, quantization, code


def test_an_adapter_beside_the_base_must_be_merged_first(base):
    model = with_lora(load(of(base)), of(base)).model
    model.save_pretrained(base)
    with pytest.raises(InputError, match=r"is an adapter.*merge_and_unload"):
        base_check(of(base))
    (base / "model.safetensors").unlink()  # the adapter alone
    with pytest.raises(InputError, match="merge_and_unload"):
        base_check(of(base))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"quant_method": "zip"}, "quantized by 'zip', which transformers cannot read"),
        ({"quant_method": "compressed-tensors"}, "cannot be loaded: "),
        ({}, "quantized by None"),
    ],
)
def test_quantization_that_cannot_be_read(base, config, says):
    change_config(base, quantization_config=config)
    with pytest.raises(InputError, match=says):
        base_check(of(base))


@pytest.mark.parametrize("kind", ["llama", "never-heard-of"])
def test_code_that_comes_with_a_base_is_not_run(base, tmp_path, kind):
    (base / "modeling.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass M: pass\n")
    names = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM"), "modeling.M")
    change_config(base, auto_map=names, model_type=kind)
    if kind == "llama":  # the library's own class
        base_check(of(base))
    else:
        with pytest.raises(InputError, match="cannot be loaded"):
            base_check(of(base))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("revision", "says"),
    [
        (["--model.revision", "main"], "model.base = 'org/nowhere' cannot be read: OSError: "),
        ([], "model.base = 'org/nowhere' is a hub model, so model.revision is needed"),
    ],
)
def test_train_tells_of_an_unknown_base_before_it_reads_data(tmp_path, revision, says):
    "There is no lake here, which would be said next, and no network."
    (tmp_path / "ccf.toml").write_text("")
    command = [sys.executable, "-m", "ccf_batch.train", "--model.base", "org/nowhere", *revision]
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_bos_without_a_row_is_refused(base):
    "Its id would be the first user's slot, in everyone's prompt."
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = json.loads((base / "config.json").read_text())["vocab_size"]
    tokenizer.add_tokens([f"<{k}>" for k in range(rows)])
    tokenizer.add_special_tokens({"bos_token": "<begin>"})
    tokenizer.add_bos_token = True
    tokenizer.save_pretrained(base)
    with pytest.raises(InputError, match="resize the model's table"):
        base_check(of(base))


# architectures


def long_rope(limit):
    factors = [1.0] * 48
    rope = {"rope_type": "longrope", "long_factor": factors, "short_factor": factors}
    return Phi3Config(rope_parameters=rope, original_max_position_embeddings=limit)


def test_positions_that_depend_on_the_longest_prompt_of_a_batch():
    check_architecture(long_rope(512), Settings(), "phi")
    with pytest.raises(InputError, match=r"longrope.*set prompt.max_tokens \(now 512\) to 511"):
        check_architecture(long_rope(511), Settings(), "phi")


def test_minus_one_is_no_limit():
    check_architecture(LlamaConfig(max_position_embeddings=-1), Settings(), "x")
    check_architecture(XLNetConfig(), Settings(), "x")  # the probe refuses it


def test_a_hybrid_with_attention_layers_only():
    only = GraniteMoeHybridConfig(layer_types=["full_attention"] * 3, num_hidden_layers=3)
    check_architecture(only, Settings(), "granite")
    for config in (GraniteMoeHybridConfig(), MambaConfig()):
        with pytest.raises(InputError, match="without full attention"):
            check_architecture(config, Settings(), "x")


def test_lora_targets_of_your_own(llama):
    settings = of(llama, model={"lora_targets": ["o_proj", "down_proj"]})
    assert "LoRA adapts o_proj, down_proj: as set by model.lora_targets" in base_check(settings)
    with pytest.raises(
        InputError, match=r"lora_targets = 'c_attn'.*which has down_proj, gate_proj"
    ):
        base_check(of(llama, model={"lora_targets": ["c_attn"]}))


def test_a_head_that_does_more_than_scale_is_refused(llama, monkeypatch):
    forward = AutoModelForCausalLM.from_pretrained(llama).__class__.forward

    def squared(self, *args, **kwargs):
        out = forward(self, *args, **kwargs)
        out.logits = out.logits**2
        return out

    monkeypatch.setattr("transformers.LlamaForCausalLM.forward", squared)
    with pytest.raises(InputError, match="not those of its head"):
        base_check(of(llama))
