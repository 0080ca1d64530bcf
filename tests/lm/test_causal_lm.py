"Loading, the nano recipe, adapters, and what is refused."

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3NextConfig,
    T5Config,
)

from ccf_batch.base.errors import InputError
from ccf_batch.base.settings_file import load as load_settings
from ccf_batch.lm import causal_lm as lm_module
from ccf_batch.lm.base_files import check_architecture
from ccf_batch.lm.causal_lm import (
    load,
    load_saved,
    nano,
    nano_tokenizer,
    pick_dtype,
    save,
    with_lora,
)
from ccf_batch.lm.prompt import TEMPLATES, wording
from ccf_batch.settings import Settings

TITLES = [
    f"{a} {b} ({year})" for year in range(1970, 1990) for a, b in [("Toy", "Boat"), ("Le", "Été")]
]
SMALL = Settings(model={"hidden": 32, "layers": 1})


@pytest.fixture(scope="module")
def small():
    return nano(TITLES, SMALL, seed=3, steps=10)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    "A folder with a tiny Qwen3, as somebody would bring one."
    folder = tmp_path_factory.mktemp("models") / "qwen3"
    tokenizer = nano_tokenizer(TITLES, SMALL)
    config = Qwen3Config(
        vocab_size=len(tokenizer) + 7,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
    )
    torch.manual_seed(0)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def of_base(base, **model):
    return Settings(model={"base": str(base), **model})


def margins(lm):
    ids = torch.from_numpy(np.random.default_rng(0).integers(200, size=12)).to(lm.device)
    with torch.no_grad():
        return lm.margin(lm.decoder(inputs_embeds=lm.embed(ids)[None]).last_hidden_state[0])


def test_nano_is_the_same_again_and_other_with_another_seed(small):
    again, other = (nano(TITLES, SMALL, seed=s, steps=10) for s in (3, 4))
    weights = small.model.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in again.model.state_dict().items())
    assert not torch.equal(
        weights["model.embed_tokens.weight"], other.base.model.embed_tokens.weight
    )


def test_nano_leaves_the_callers_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    nano(TITLES, SMALL, seed=0, steps=1)
    assert torch.equal(torch.rand(1), expected)


def test_nano_starts_undecided_and_untied(small):
    assert margins(small).abs().max() == 0
    head, table = small.base.lm_head.weight, small.base.model.embed_tokens.weight
    assert head.data_ptr() != table.data_ptr()
    assert small.tokenizer.decode([small.yes_id, small.no_id]) == " Yes No"
    assert small.vocab_rows >= len(small.tokenizer) and small.hidden == 32


def test_nano_learns_its_text():
    def loss(lm):
        ids = torch.tensor([lm.tokenizer(" Toy Boat (1975)").input_ids])
        with torch.no_grad():
            return lm.model(input_ids=ids, labels=ids).loss.item()

    assert (
        loss(nano(TITLES, SMALL, seed=0, steps=60)) < loss(nano(TITLES, SMALL, seed=0, steps=0)) - 1
    )


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_nano_writes_the_wording_in_few_tokens(small, template):
    t = wording(template, SMALL)
    for text in (t.liked, t.closing, t.cue):
        tokens = small.tokenizer(text, add_special_tokens=False).input_ids
        assert len(tokens) <= len(text.split()) * 2 + 4


def test_nano_with_an_empty_catalogue():
    assert nano([], SMALL, seed=0, steps=1).yes_id > 0


def test_a_saved_nano_comes_back_to_the_bit(small, tmp_path):
    save(small, tmp_path)
    again = load_saved(tmp_path, SMALL)
    state = again.model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in small.model.state_dict().items())
    assert (again.yes_id, again.no_id) == (small.yes_id, small.no_id)
    text = " Été </s> (1970)"
    assert again.tokenizer(text).input_ids == small.tokenizer(text).input_ids
    files = {p.suffix for p in tmp_path.rglob("*") if p.is_file()}
    assert files <= {".json", ".safetensors", ".jinja"}


def test_a_second_architecture_from_a_folder(qwen):
    lm = load(of_base(qwen))
    assert lm.base.config.model_type == "qwen3" and lm.source.kind == "folder"
    ids = torch.arange(20, 32)
    with torch.no_grad():
        logits = lm.model(input_ids=ids[None]).logits[0]
        hidden = lm.decoder(inputs_embeds=lm.embed(ids)[None]).last_hidden_state[0]
    expected = logits[:, lm.yes_id] - logits[:, lm.no_id]
    assert torch.allclose(lm.margin(hidden), expected, atol=1e-5)


def test_adapter_is_a_plain_peft_folder_and_comes_back(qwen, tmp_path):
    from peft import PeftModel

    lm = with_lora(load(of_base(qwen)), of_base(qwen))
    trainable = [n for n, p in lm.model.named_parameters() if p.requires_grad]
    assert trainable and all("lora_" in n for n in trainable)
    with torch.no_grad():
        for name, p in lm.model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.5)
    save(lm, tmp_path)
    assert not list((tmp_path / "lm").glob("*.safetensors"))  # a pointer, no copy of the base
    again = load_saved(tmp_path, of_base(qwen))
    assert torch.equal(margins(again), margins(lm))
    assert not torch.equal(margins(load(of_base(qwen))), margins(lm))
    plain = PeftModel.from_pretrained(Qwen3ForCausalLM.from_pretrained(qwen), tmp_path / "adapter")
    other = load(of_base(qwen))
    other.model = plain.eval()
    assert torch.equal(margins(other), margins(lm))


def test_a_base_that_changed_is_refused(qwen, tmp_path):
    import shutil

    base = tmp_path / "base"
    shutil.copytree(qwen, base)
    save(load(of_base(base)), tmp_path / "bundle")
    torch.manual_seed(9)
    Qwen3ForCausalLM(Qwen3Config.from_pretrained(base)).save_pretrained(base)
    with pytest.raises(InputError, match="another weights"):
        load_saved(tmp_path / "bundle", of_base(base))


def test_a_tokenizer_that_its_class_would_rewrite_is_read_from_its_file(qwen, tmp_path):
    import shutil

    base = tmp_path / "base"
    shutil.copytree(qwen, base)
    declared = {"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (base / "tokenizer_config.json").write_text(json.dumps(declared), "utf-8")
    lm, text = load(of_base(base)), " Toy Boat (1975), Été"
    assert lm.tokenizer(text).input_ids == nano_tokenizer(TITLES, SMALL)(text).input_ids
    assert len(lm.notes) == 1 and "tokenizer.json" in lm.notes[0]
    assert load(of_base(qwen)).notes == []
    save(lm, tmp_path / "bundle")
    again = load_saved(tmp_path / "bundle", of_base(base))
    assert again.tokenizer(text).input_ids == lm.tokenizer(text).input_ids


def test_a_relative_base_lies_in_the_workspace(qwen, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(qwen, tmp_path / "w" / "mine")
    (tmp_path / "w" / "ccf.toml").write_text('[model]\nbase = "mine"\n', "utf-8")
    monkeypatch.chdir(tmp_path)
    settings = load_settings(Settings, "w/ccf.toml", [])
    assert load(settings).source.base == "mine"


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("org/name", "revision"),
        ("./nowhere", "no such folder"),
        ("nowhere.gguf", "no such file"),
    ],
)
def test_bases_that_are_not_there(base, says):
    with pytest.raises(InputError, match=says):
        load(of_base(base))


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(InputError, match="safetensors"):
        load(of_base(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"not one")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "never-heard-of"}), "utf-8")
    with pytest.raises(InputError, match="cannot be loaded"):
        load(of_base(tmp_path))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (MambaConfig(), "full attention"),
        (Qwen3NextConfig(), "full attention"),
        (MistralConfig(sliding_window=128), "last 128 tokens"),
        (GPT2Config(n_positions=128), "holds 128"),
        (T5Config(), "encoder-decoder"),
    ],
)
def test_architectures_that_cannot_serve(config, says):
    with pytest.raises(InputError, match=says):
        check_architecture(config, Settings(), "some/model")


def test_windows_that_hold_the_prompt_are_fine():
    check_architecture(LlamaConfig(), Settings(), "x")
    check_architecture(MistralConfig(sliding_window=4096), Settings(), "x")
    check_architecture(MistralConfig(sliding_window=None), Settings(), "x")
    check_architecture(Qwen3Config(), Settings(), "x")


def test_the_dtype_follows_the_flags(monkeypatch):
    big = 10**8
    monkeypatch.setattr(lm_module, "_cpu_flags", lambda: {"avx2"})
    assert pick_dtype("auto", "cpu", big)[0] == torch.float32
    monkeypatch.setattr(lm_module, "_cpu_flags", lambda: {"avx2", "avx512_bf16"})
    dtype, reason = pick_dtype("auto", "cpu", big)
    assert dtype == torch.bfloat16 and "avx512_bf16" in reason
    assert pick_dtype("auto", "cpu", 10**6)[0] == torch.float32
    assert pick_dtype("float32", "cpu", big)[0] == torch.float32


GGUF = Path(__file__).resolve().parents[2] / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.slow
@pytest.mark.skipif(
    not GGUF.exists(), reason="needs models/SmolLM2-135M-Instruct.Q4_1.gguf: make lm-smollm2"
)
def test_smollm2_from_its_gguf_file(tmp_path):
    from ccf_batch.lm.packed import check_parity

    settings = of_base(GGUF, dtype="float32")
    lm = load(settings)
    assert (lm.yes_id, lm.no_id) == (9230, 2838)
    assert lm.source.kind == "gguf" and len(lm.source.weights) == 64
    digits = lm.tokenizer.tokenize("1995")
    assert digits == ["1", "9", "9", "5"]
    assert check_parity(lm, 512).largest < 1e-3
    tuned = with_lora(lm, settings)
    with torch.no_grad():
        for name, p in tuned.model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.02)
    save(tuned, tmp_path)
    again = load_saved(tmp_path, settings)
    assert torch.equal(margins(again), margins(tuned))
    lm.base.save_pretrained(tmp_path / "plain")  # refused by transformers where the mark is left
