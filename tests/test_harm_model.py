"Bundles that are not what was trained, and titles that try to move other items."

import json
import os
import shutil
from dataclasses import replace

import harm
import numpy as np
import pyarrow as pa
import pytest
import tiny
import torch
from harm import LONG, TEXT, fuzz
from hypothesis import given
from hypothesis import strategies as st

from ccf_batch.base import atomic
from ccf_batch.base.errors import InputError
from ccf_batch.base.settings_file import load as load_settings
from ccf_batch.lm.causal_lm import load as load_lm
from ccf_batch.lm.causal_lm import with_lora
from ccf_batch.model import bundle
from ccf_batch.model.scorer import Scorer

CONFIG = """
attributes.categorical = ["genres"]
attributes.text = ["subjects"]
model.hidden = 16
model.layers = 1
cf.factors = 3
train.loss = "pointwise"
prompt.template = "full"
"""

# --- bundles -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    "A nano model and its catalogue, in a workspace of its own, and its bundle."
    ws = tmp_path_factory.mktemp("nano")
    (ws / "ccf.toml").write_text(CONFIG)
    model, catalogue = tiny.model_of(load_settings(config=ws / "ccf.toml"))
    return model, catalogue, tiny.save(model, {"valid_auc": 0.75})


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    "The bundle of a pretrained base with an adapter."
    ws = tmp_path_factory.mktemp("base")
    tiny.write_base(ws / "qwen3")
    (ws / "ccf.toml").write_text(CONFIG + 'model.base = "qwen3"\n')
    settings = load_settings(config=ws / "ccf.toml")
    model, _ = tiny.model_of(settings, with_lora(load_lm(settings), settings))
    return tiny.save(model, {})


def copied(path, tmp_path_factory):
    "A bundle of the same name in a workspace where nothing else is."
    ws = tmp_path_factory.mktemp("b") / "w"
    return shutil.copytree(path, ws / "bundles" / path.name), ws.parent


def names_of(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())


def sealed(path, **changed):
    "Give a bundle the hashes and the id of its content, as its maker could."
    about = json.loads((path / "bundle.json").read_bytes()) | changed
    about["files"] = {n: atomic.sha256(path / n) for n in names_of(path) if n != "bundle.json"}
    about["id"] = bundle.bundle_id(about)
    (path / "bundle.json").write_text(json.dumps(about))


def loads_or_says(path, workspace=None):
    "Load it, or a message that names the bundle; whether it was loaded."
    try:
        bundle.load(path, workspace)
    except InputError as e:
        assert str(path) in str(e) and len(str(e)) < 4_000, e
        return False
    return True


def bytes_for(path, name, trace):
    "What somebody may put into a file of a bundle."
    other = [
        st.binary(max_size=60),
        st.just(harm.pickled(trace)),
        st.sampled_from(
            [b"", (path / name).read_bytes()[:-7], b"PK\x03\x04", b"\x08" + bytes(7) + b"{}"]
        ),
    ]
    if name.endswith(".json"):
        other += [harm.file_content(json.loads((path / name).read_bytes()))] * 4
    return st.one_of(other)


@pytest.mark.parametrize("seal", ["as it was", "sealed again"])
@fuzz(25)
@given(data=st.data())
def test_any_bytes_in_any_file_of_a_bundle(nano, tmp_path_factory, seal, data):
    "Not sealed again: refused by the file's name. Sealed again, as its maker could: loaded, or refused."
    harm.TRIED[f"bundles: {seal}"] += 1
    path, outside = copied(nano[2], tmp_path_factory)
    name = data.draw(st.sampled_from(names_of(path)))
    before = (path / name).read_bytes()
    (path / name).write_bytes(data.draw(bytes_for(path, name, outside / "trace")))
    if seal == "sealed again" and name != "bundle.json":
        sealed(path)
    loaded = loads_or_says(path)
    if seal == "as it was" and name != "bundle.json":
        assert loaded == ((path / name).read_bytes() == before)
    assert not (outside / "trace").exists()


@fuzz(40)
@given(data=st.data())
def test_any_bundle_json_that_has_its_own_id(nano, tmp_path_factory, data):
    harm.TRIED["bundles: bundle.json with its id"] += 1
    path, _ = copied(nano[2], tmp_path_factory)
    file = path / "bundle.json"
    about = data.draw(harm.mutated(json.loads(file.read_bytes())))
    if isinstance(about, dict):
        text = json.dumps(
            {k: v for k, v in about.items() if k not in ("id", "created", "train_seconds")}
        )
        about = json.loads(text) | {k: about[k] for k in ("created", "train_seconds") if k in about}
        try:
            about["id"] = bundle.bundle_id(about)
        except ValueError:  # half a character: it has no id
            about["id"] = "0" * 16
    file.write_text(json.dumps(about))
    loads_or_says(path)
    settings = load_settings(config=None)
    settings._workspace = path.parents[1]
    import datetime as dt

    try:
        bundle.newest(settings, dt.date(2026, 7, 2))
    except InputError as e:
        assert str(path.parents[0]) in str(e)


def weights_of(trace):
    "A checkpoint that runs a program when it is unpickled, as `torch.save` writes one."
    file = trace.with_name("evil.bin")
    torch.save({"x": harm.Evil(trace)}, file)
    return file.read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "adapter/adapter_model.bin",
        "adapter/adapter_model.safetensors",
        "adapter/more.pt",
        "fusion.safetensors",
        "cf.safetensors",
        "lm/pytorch_model.bin",
        "lm/model.pkl",
        "training_args.bin",
        "optimizer.pt",
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_a_pickle_is_never_opened(adapted, tmp_path_factory, name, alone):
    harm.TRIED["bundles: pickles"] += 1
    path, outside = copied(adapted, tmp_path_factory)
    with pytest.raises(FileExistsError):  # the trap works
        (outside / "trace").touch()
        torch.load(make_trap(outside), weights_only=False)
        (outside / "trace").touch(exist_ok=False)
    (outside / "trace").unlink()
    if alone and name.startswith("adapter/"):
        (path / "adapter/adapter_model.safetensors").unlink()
    (path / name).write_bytes(weights_of(outside / "trace"))
    sealed(path)
    assert not loads_or_says(path, adapted.parents[1])
    assert not (outside / "trace").exists()


def make_trap(outside):
    weights_of(outside / "trace")
    return outside / "evil.bin"


@pytest.mark.parametrize("where", ["lm/config.json", "tokenizer/tokenizer_config.json"])
@pytest.mark.parametrize("kind", [None, "homemade"])
def test_code_beside_the_weights_is_never_run(nano, tmp_path_factory, where, kind):
    "`auto_map` is how a checkpoint asks for its own code to be run."
    harm.TRIED["bundles: code"] += 1
    path, outside = copied(nano[2], tmp_path_factory)
    module = path / where.split("/")[0] / "homemade.py"
    module.write_text(f"open({str(outside / 'trace')!r}, 'w')\n")
    config = json.loads((path / where).read_bytes())
    config["auto_map"] = {
        "AutoConfig": "homemade.Config",
        "AutoModelForCausalLM": "homemade.Model",
        "AutoTokenizer": ["homemade.Tokenizer", "homemade.Tokenizer"],
    }
    if kind:
        config |= {"model_type": kind, "tokenizer_class": kind}
    (path / where).write_text(json.dumps(config))
    sealed(path)
    assert not loads_or_says(path)
    module.unlink()
    sealed(path)
    loads_or_says(path)
    assert not (outside / "trace").exists()


@pytest.mark.parametrize(
    "name", ["adapter", "lm", "tokenizer", "ids", "more", "cf.safetensors", "x.json"]
)
def test_links_in_a_bundle_are_refused_by_name(nano, tmp_path_factory, name):
    "What a link leads to may change when the bundle does not."
    harm.TRIED["bundles: links"] += 1
    path, outside = copied(nano[2], tmp_path_factory)
    if (path / name).exists():
        os.rename(path / name, outside / "moved")
    else:
        (outside / "moved").mkdir()
    (path / name).symlink_to(outside / "moved")
    with pytest.raises(InputError, match=name):
        bundle.load(path)


def test_a_link_to_a_bundle_is_a_bundle(nano, tmp_path):
    (tmp_path / "current").symlink_to(nano[2])
    assert bundle.load(tmp_path / "current").id == bundle.load(nano[2]).id


def test_a_newer_schema_says_so(nano, tmp_path_factory):
    path, _ = copied(nano[2], tmp_path_factory)
    sealed(path, schema=bundle.SCHEMA + 1)
    with pytest.raises(InputError, match=r"bundle\.json: schema 3, this version reads 2"):
        bundle.load(path)


@pytest.mark.parametrize("what", ["a file", "a folder in its place"])
def test_what_is_no_folder_is_no_bundle(tmp_path, what):
    if what == "a file":
        (tmp_path / "b").write_text("x")
    else:
        (tmp_path / "b/bundle.json").mkdir(parents=True)
    assert not loads_or_says(tmp_path / "b")


# --- titles ------------------------------------------------------------------------------------------

ATOL = 2e-5  # float32 margins of a size of about 1, in another order of addition
STRANGER = 7  # an item of no history


@pytest.fixture(scope="module")
def night(nano):
    "A model, its catalogue, users whose histories lack one item, and their margins."
    model, catalogue, _ = nano
    with torch.no_grad():
        model.answer.scale.fill_(0.7)
    batch = tiny.batch_of(np.random.default_rng(3), 12)
    history = np.where(batch.history == STRANGER, STRANGER + 1, batch.history)
    candidate = batch.candidate.copy()
    candidate[::3] = STRANGER
    batch = replace(batch, history=history.astype(np.int32), candidate=candidate)
    return model, catalogue, batch, Scorer(model, catalogue).score(batch).margin


def with_text(catalogue, title, attributes):
    titles = catalogue.title.to_pylist()
    maps = catalogue.attributes.to_pylist()
    titles[STRANGER], maps[STRANGER] = title, attributes
    return replace(catalogue, title=pa.array(titles), attributes=pa.array(maps, tiny.MAP))


VALUES = st.lists(TEXT | st.none(), max_size=2) | st.none()
ATTRIBUTES = st.none() | st.dictionaries(
    st.sampled_from(["genres", "subjects"]) | TEXT, VALUES, max_size=3
).map(lambda d: list(d.items()))


@fuzz(15)
@given(title=st.none() | TEXT | LONG, attributes=ATTRIBUTES)
def test_a_title_moves_no_other_candidates_margin(night, title, attributes):
    "Over the packed engine, whatever the title of an item of nobody's history says."
    harm.TRIED["titles: margins"] += 1
    model, catalogue, batch, before = night
    scorer = Scorer(model, with_text(catalogue, title, attributes))
    after = scorer.score(batch).margin
    others = batch.candidate != STRANGER
    assert 5 < others.sum() < len(others) and np.isfinite(after).all()
    np.testing.assert_allclose(after[others], before[others], atol=ATOL)
    # and in tokens: no special one, and no slot but its own
    V, added = model.lm.vocab_rows, list(model.lm.tokenizer.added_tokens_decoder)
    suffixes = scorer.items.texts.suffixes
    ids = suffixes.ids[suffixes.offsets[STRANGER] : suffixes.offsets[STRANGER + 1]]
    assert ids[ids >= V].tolist() == [V + scorer.prompts.block + STRANGER]
    words = scorer.items.word[slice(*scorer.items.word_offsets[STRANGER : STRANGER + 2])]
    assert not np.isin(np.concatenate([ids, words]), added).any() and (words < V).all()


def test_a_title_does_move_its_own_margin(night):
    "The test above could not fail if titles were not read."
    model, catalogue, batch, before = night
    after = (
        Scorer(model, with_text(catalogue, "War and war", [("genres", ["War"])]))
        .score(batch)
        .margin
    )
    its = batch.candidate == STRANGER
    assert np.abs(after[its] - before[its]).max() > 100 * ATOL
