"Frozen vectors of texts: what they depend on, what is kept, and what a kill leaves."

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, BertConfig, BertModel

from ccf_batch.base.errors import InputError
from ccf_batch.lm import vectors
from ccf_batch.lm.base_files import identify, locate
from ccf_batch.lm.vectors import Store, batches_by_length, embed_texts, open_encoder, text_keys
from ccf_batch.settings import Settings

TEXTS = [f"Film {k}: a story of {k * 7} seas and {'very ' * (k % 9)}long nights" for k in range(40)]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.write_base(tmp_path_factory.mktemp("b") / "llama", "Llama", tied=False)


def opened(base, **options):
    located = locate(Settings(model={"base": str(base)}))
    return open_encoder(located, identify(located), **options)


def test_the_layer_is_the_models_own_before_its_last_norm(base):
    encoder = opened(base, layer=1)
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    ids = torch.tensor([encoder.tokenizer(TEXTS[3]).input_ids])
    with torch.no_grad():
        hidden_Td = model(input_ids=ids, output_hidden_states=True).hidden_states[1][0]
    own = torch.nn.functional.normalize(hidden_Td.mean(0), dim=0).numpy()
    assert np.abs(encoder.embed([TEXTS[3]])[0].astype(np.float32) - own).max() < 1e-3


def test_a_vector_does_not_depend_on_who_else_is_in_its_batch(base):
    encoder = opened(base)
    together = encoder.embed(TEXTS).astype(np.float32)
    alone = np.concatenate([encoder.embed([text]) for text in TEXTS]).astype(np.float32)
    assert np.abs(together - alone).max() < 2e-3  # float16


def test_another_layer_pooling_or_base_is_another_key(base, tmp_path):
    other = tiny.write_base(tmp_path / "qwen", "Qwen3")
    encoders = [opened(base, layer=1), opened(base, layer=2), opened(base, layer=1, pooling="last")]
    keys = {encoder.key for encoder in [*encoders, opened(other, layer=1)]}
    assert len(keys) == 4 and opened(base, layer=1).key in keys


def test_a_layer_that_there_is_not(base):
    with pytest.raises(InputError, match="has 2 layers; there is no layer 3"):
        opened(base, layer=3)


def test_special_tokens_in_a_text_are_text(base):
    encoder = opened(base)
    (ids,) = encoder.tokenizer(["a </s> b <s>"], split_special_tokens=True).input_ids
    special = {encoder.tokenizer.eos_token_id, encoder.tokenizer.bos_token_id}
    assert not special & set(ids[1:])  # BOS opens the text, as the tokenizer has it


def test_a_sentence_encoder_is_read_to_its_last_layer(base, tmp_path):
    config = BertConfig(
        vocab_size=600,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
    )
    torch.manual_seed(0)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    opened(base).tokenizer.save_pretrained(tmp_path)
    encoder = opened(tmp_path)
    assert len(encoder.layers) == 3 and encoder.embed(["a"]).shape == (1, 32)


def test_long_texts_are_cut_and_empty_ones_have_a_vector(base):
    encoder = opened(base)
    encoder.tokenizer.add_bos_token = False  # so that an empty text has no token at all
    found = encoder.embed(["", "sea " * 5000])
    assert np.isfinite(found).all() and np.isfinite(encoder.embed([""])).all()


def test_batches_hold_what_they_may():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, vectors.MAX_TOKENS, 500)
    batches = batches_by_length(lengths)
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(500))
    assert all(len(b) * lengths[b].max() <= vectors.BATCH_TOKENS for b in batches)
    assert batches_by_length([]) == []


def test_a_night_embeds_new_texts_only(base, tmp_path, monkeypatch):
    encoder, asked = opened(base), []
    embed = type(encoder).embed
    monkeypatch.setattr(
        type(encoder), "embed", lambda self, texts: asked.append(len(texts)) or embed(self, texts)
    )
    first = embed_texts([*TEXTS, TEXTS[0]], encoder, tmp_path)
    assert sum(asked) == len(TEXTS) and np.array_equal(first[0], first[-1])
    assert np.array_equal(embed_texts(TEXTS, encoder, tmp_path), first[:-1]) and len(asked) == 1
    embed_texts([*TEXTS, "a new one"], encoder, tmp_path)
    assert asked[1:] == [1]


def test_what_was_written_in_part_is_not_read(base, tmp_path):
    encoder = opened(base)
    store = Store(tmp_path / "s", encoder.size)
    store.append(text_keys(TEXTS[:3]), encoder.embed(TEXTS[:3]))
    (tmp_path / "s" / ".0123.tmp").write_bytes(b"half a file")
    assert set(store.read()) == set(text_keys(TEXTS[:3]))


KILLED = """
import sys
from ccf_batch.lm import vectors
from ccf_batch.lm.base_files import identify, locate
from ccf_batch.settings import Settings
vectors.CHUNK = 4
located = locate(Settings(model={"base": sys.argv[1]}))
encoder = vectors.open_encoder(located, identify(located))
texts = [f"Film {k} of many" for k in range(4000)]
print("begins", flush=True)
vectors.embed_texts(texts, encoder, vectors.Path(sys.argv[2]))
"""


def test_after_a_kill_nothing_is_lost_or_doubled(base, tmp_path):
    job = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(base), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert job.stdout.readline() == "begins\n"
    while len(list(tmp_path.rglob("part-*.parquet"))) < 5:
        time.sleep(0.002)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert job.returncode == -signal.SIGKILL
    encoder = opened(base)
    folder = tmp_path / encoder.key
    done = len(Store(folder, encoder.size).read())
    assert done >= 20 and done % 4 == 0
    texts = [f"Film {k} of many" for k in range(400)]
    found = embed_texts(texts, encoder, tmp_path)
    assert np.abs(found.astype(np.float32) - encoder.embed(texts).astype(np.float32)).max() < 2e-3
    keys = [
        key
        for file in folder.glob("part-*.parquet")
        for key in vectors.pq.read_table(file).column("text").to_pylist()
    ]
    assert len(keys) == len(set(keys))
    assert os.listdir(tmp_path) == [encoder.key]
