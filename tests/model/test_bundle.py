"Bundles: what goes in comes out, to the bit, or is refused by name."

import datetime as dt
import json
import shutil

import numpy as np
import pytest
import tiny
import torch

from ccf_batch.base.errors import InputError
from ccf_batch.base.settings_file import load as load_settings
from ccf_batch.lm.causal_lm import load as load_lm
from ccf_batch.lm.causal_lm import with_lora
from ccf_batch.model import bundle
from ccf_batch.model.scorer import Scorer

CONFIG = (
    '[attributes]\ncategorical = ["genres"]\n[model]\nhidden = 16\nlayers = 1\n[cf]\nfactors = 3\n'
    '[train]\nloss = "pointwise"\n'
)
BATCH = tiny.batch_of(np.random.default_rng(5), 20)


def workspace_of(folder, config=CONFIG):
    (folder / "ccf.toml").write_text(config)
    return load_settings(config=folder / "ccf.toml")


def margins(model, catalogue):
    return Scorer(model, catalogue).score(BATCH).margin


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    "A nano model, its catalogue, and its bundle."
    folder = tmp_path_factory.mktemp("nano")
    model, catalogue = tiny.model_of(workspace_of(folder))
    return model, catalogue, tiny.save(model, {"valid_auc": 0.75})


def test_a_nano_model_comes_back_to_the_bit(saved):
    model, catalogue, path = saved
    loaded = bundle.load(path)
    assert np.array_equal(margins(loaded.model, catalogue), margins(model, catalogue))
    assert path.name == f"2026-07-01-{loaded.id}"
    assert loaded.trained_until == dt.datetime(2026, 7, 1)
    assert loaded.settings.saved() == model.settings.saved()
    assert loaded.metadata.metrics == {"valid_auc": 0.75}
    assert loaded.metadata.model.answers == {"yes": model.lm.yes_id, "no": model.lm.no_id}


def test_a_pretrained_model_comes_back_from_its_base_and_a_plain_adapter(tmp_path):
    tiny.write_base(tmp_path / "qwen3")  # a base named by a path relative to the workspace
    settings = workspace_of(tmp_path, CONFIG.replace("[model]", '[model]\nbase = "qwen3"'))
    lm = with_lora(load_lm(settings), settings)
    model, catalogue = tiny.model_of(settings, lm)
    with torch.no_grad():
        model.answer.scale.fill_(0.7)
        for name, p in lm.model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.05)
    path = tiny.save(model, {})
    assert not list(path.glob("lm/*.safetensors"))  # a pointer, not a copy
    loaded = bundle.load(path)
    assert np.array_equal(margins(loaded.model, catalogue), margins(model, catalogue))

    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(tmp_path / "qwen3", dtype=torch.float32)
    plain = PeftModel.from_pretrained(base, path / "adapter").eval()
    ids = AutoTokenizer.from_pretrained(path / "tokenizer")("Film 3", return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(plain(ids).logits, lm.model.eval()(ids).logits)

    weights = next((tmp_path / "qwen3").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(InputError, match="other weights"):
        bundle.load(path)


def test_the_same_model_is_the_same_bundle_and_another_is_another(saved):
    model, _, path = saved
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file() and p.suffix != ".json"}
    assert tiny.save(model, {"valid_auc": 0.75}) == path
    assert {p: p.read_bytes() for p in before} == before
    other = tiny.save(model, {"valid_auc": 0.76})
    assert other != path
    shutil.rmtree(other)


def test_no_file_is_a_program(saved):
    _, _, path = saved
    suffixes = {p.suffix for p in path.rglob("*") if p.is_file()}
    assert suffixes <= {".json", ".safetensors", ".parquet", ".jinja", ".txt"}


NAMES = [
    "cf.safetensors",
    "fusion.safetensors",
    "ranker/ranker.json",
    "ids/items.parquet",
    "ids/users.parquet",
    "lm/model.safetensors",
    "lm/config.json",
    "lm/source.json",
    "tokenizer/tokenizer.json",
]


@pytest.mark.parametrize("how", ["changed", "cut", "gone"])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_refused_by_name(saved, tmp_path, name, how):
    path = tmp_path / saved[2].name
    shutil.copytree(saved[2], path)
    file = path / name
    data = bytearray(file.read_bytes())
    if how == "gone":
        file.unlink()
    elif how == "cut":
        file.write_bytes(data[:-1])
    else:
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    with pytest.raises(InputError, match=name):
        bundle.load(path)


def test_a_file_that_was_added_is_refused(saved, tmp_path):
    path = tmp_path / saved[2].name
    shutil.copytree(saved[2], path)
    (path / "lm" / "modeling_custom.py").write_text("raise SystemExit")
    with pytest.raises(InputError, match=r"modeling_custom\.py"):
        bundle.load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trained_until": "2025-01-01T00:00:00"}, "was changed"),
        ({"schema": 99}, "schema 99"),
        ({"files": {}}, "was changed"),
    ],
)
def test_a_changed_bundle_json_is_refused(saved, tmp_path, change, said):
    path = tmp_path / saved[2].name
    shutil.copytree(saved[2], path)
    about = json.loads((path / "bundle.json").read_text())
    (path / "bundle.json").write_text(json.dumps(about | change))
    with pytest.raises(InputError, match=said):
        bundle.load(path)


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no bundle\.json"):
        bundle.load(tmp_path)
    (tmp_path / "bundle.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        bundle.load(tmp_path)
    (tmp_path / "bundle.json").write_text("[]")
    with pytest.raises(InputError, match="schema"):
        bundle.load(tmp_path)


def test_newest_has_seen_nothing_of_the_night(tmp_path):
    settings = workspace_of(tmp_path)
    with pytest.raises(InputError, match=r"no bundle yet.*ccf_batch\.train"):
        bundle.newest(settings, dt.date(2026, 7, 1))

    def make(name, until, created):
        folder = settings.bundles / name
        folder.mkdir(parents=True)
        about = {"schema": bundle.SCHEMA, "trained_until": until, "name": name, "model": None}
        about |= {"first_stage": {"scale": 1.0, "horizon": 0, "calibration": None}}
        about |= {"settings": {}, "files": {}}
        about |= {"id": bundle.bundle_id(about), "created": created}
        (folder / "bundle.json").write_text(json.dumps(about))
        return folder

    old = make("old", "2026-06-01T00:00:00", "2026-07-09T00:00:00+00:00")
    first = make("z", "2026-07-01T00:00:00", "2026-07-02T00:00:00+00:00")
    again = make("a", "2026-07-01T00:00:00", "2026-07-03T00:00:00+00:00")
    make(".staged", "2026-07-01T00:00:00", "2026-07-04T00:00:00+00:00")
    assert bundle.newest(settings, dt.date(2026, 7, 1)) == again != first  # cut-offs are half-open
    assert bundle.newest(settings, dt.date(2026, 6, 30)) == old
    with pytest.raises(InputError, match="--date 2026-05-31"):
        bundle.newest(settings, dt.date(2026, 5, 31))
    paris = settings.model_copy(
        update={"domain": settings.domain.model_copy(update={"zone": "Europe/Paris"})}
    )
    paris._workspace = settings.workspace
    assert bundle.newest(paris, dt.date(2026, 7, 1)) == old  # midnight there is 22:00 UTC
