"Serving checkpoints: a standard classifier whose one output is the margin; no server is needed to see it."

import json

import numpy as np
import pytest
import tiny
import torch
from transformers import AutoModelForSequenceClassification

from ccf_batch.base.errors import InputError
from ccf_batch.base.settings_file import load as load_settings
from ccf_batch.lm import checkpoint
from ccf_batch.lm.causal_lm import load as load_lm
from ccf_batch.lm.causal_lm import nano, with_lora

BLOCK, ITEMS = 8, 20


def base_lm(folder, kind, **how):
    tiny.write_base(folder / "base", kind, **how)
    (folder / "ccf.toml").write_text('[model]\nbase = "base"\n')
    settings = load_settings(config=folder / "ccf.toml")
    return load_lm(settings), settings


def own_margin(lm, ids, rows):
    "By the language model itself, with slot rows injected at the output of its embedding layer."
    table = torch.cat([lm.embed(torch.arange(lm.vocab_rows)), rows])
    return lm.margin(lm.decoder(inputs_embeds=table[ids]).last_hidden_state[0, -1:]).item()


def served_margin(made, ids, rows):
    "By the exported folder, with slot rows written into its table."
    model = AutoModelForSequenceClassification.from_pretrained(made.folder)
    V = made.vocab_rows
    with torch.no_grad():
        model.get_input_embeddings().weight[V : V + len(rows)] = rows / made.scale
        return model(ids).logits.item()


@torch.no_grad()
@pytest.mark.parametrize("kind", ["Qwen3", "Gemma", "Llama"])
def test_the_one_output_is_the_margin(tmp_path, kind):
    lm, settings = base_lm(tmp_path, kind, tied=kind != "Llama")
    lm = with_lora(lm, settings)
    for name, p in lm.model.named_parameters():
        if "lora_B" in name:
            p.normal_(std=0.2)
    before = {k: v.clone() for k, v in lm.model.state_dict().items()}
    made = checkpoint.load_or_export(lm, tmp_path / "serving/x", "x", BLOCK, ITEMS)
    assert all(torch.equal(before[k], v) for k, v in lm.model.state_dict().items())
    assert (made.scale == 1) == (kind != "Gemma")
    if kind == "Gemma":
        assert made.scale == pytest.approx(lm.hidden**0.5)
    rows = torch.randn(BLOCK + ITEMS, lm.hidden)
    V = lm.vocab_rows
    ids = torch.tensor([[3, V + 2, 7, V + BLOCK + 5, 9, V + BLOCK + 19]])
    own = own_margin(lm, ids, rows)
    assert served_margin(made, ids, rows) == pytest.approx(own, abs=1e-4)
    lm.model.disable_adapter_layers()
    assert own_margin(lm, ids, rows) != pytest.approx(own, abs=1e-3)  # the adapter had a say


def test_an_adapter_on_tied_embeddings_is_refused(tmp_path):
    from peft import LoraConfig, get_peft_model

    lm, _ = base_lm(tmp_path, "Qwen3")
    targets = LoraConfig(r=2, target_modules=["embed_tokens"], task_type="CAUSAL_LM")
    lm.model = get_peft_model(lm.model, targets)
    with pytest.raises(InputError, match="tied"):
        checkpoint.load_or_export(lm, tmp_path / "x", "x", BLOCK, ITEMS)
    assert not (tmp_path / "x").exists()


def test_it_is_made_again_only_where_it_must(tmp_path):
    settings = load_settings(config=None)
    lm = nano([f"Film {k}" for k in range(50)], settings, seed=0, steps=1)
    folder = tmp_path / "b1"
    made = checkpoint.load_or_export(lm, folder, "b1", BLOCK, ITEMS)
    assert made.capacity == 1024
    at = (folder / "model.safetensors").stat().st_mtime_ns

    def untouched(key="b1", block=BLOCK, items=ITEMS):
        again = checkpoint.load_or_export(lm, folder, key, block, items)
        return again == made and (folder / "model.safetensors").stat().st_mtime_ns == at

    assert untouched() and untouched(items=1024)
    assert checkpoint.read(folder) == made
    assert not untouched(items=1025)
    made, at = checkpoint.read(folder), (folder / "model.safetensors").stat().st_mtime_ns
    assert made.capacity == 2048 and untouched(items=1025)
    assert not untouched(key="b2")  # another bundle's weights
    made, at = checkpoint.read(folder), (folder / "model.safetensors").stat().st_mtime_ns
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    assert checkpoint.read(folder) is None  # not the weights that were exported
    assert checkpoint.load_or_export(lm, folder, "b2", BLOCK, ITEMS).sha256 == made.sha256
    about = json.loads((folder / "serving.json").read_text())
    (folder / "serving.json").write_text(json.dumps(about | {"versions": {"torch": "1.0"}}))
    assert checkpoint.load_or_export(lm, folder, "b2", BLOCK, ITEMS).versions == made.versions
    (folder / "serving.json").write_text("{")
    assert checkpoint.read(folder) is None


def test_room_is_a_quarter_more_in_steps():
    items = np.array([1, 819, 820, 10_000, 1_000_000])
    found = np.array([checkpoint.reserve(int(n)) for n in items])
    assert (found % 1024 == 0).all() and (found >= items * 1.25).all()
    assert (found - items * 1.25 < 1024).all()
