"A lake and models small enough that training them takes seconds."

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ccf_batch.settings import GENERATOR_NAMES

FIRST = dt.datetime(2026, 1, 1)
CONFIG = """
[domain]
noun = "films"
liked_above = 3
[attributes]
categorical = ["genres"]
[model]
hidden = 16
layers = 1
[cf]
factors = 3
folds = 2
[train]
epochs = 2
loss = "pointwise"
[score]
threads = 1
"""
MAP = pa.map_(pa.string(), pa.list_(pa.string()))
GENRES = ("Drama", "War", "Comedy")


def write_lake(folder, users=40, items=50, n=1500, seed=0, every=1):
    "Ratings over 60 days, on each or on every fifth, …, of users who each like one genre."
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, users, n), rng.integers(0, items, n)
    seconds = np.sort(rng.integers(0, 60 * 86400, n))
    z = rng.normal(size=items)[item] + np.where(user % 3 == item % 3, 1.5, -1)
    rating = np.where(rng.random(n) < 1 / (1 + np.exp(-z)), 5.0, 2.0)
    seconds -= seconds // 86400 % every * 86400
    times = [FIRST + dt.timedelta(seconds=int(s)) for s in seconds]
    days = np.array([t.date() for t in times])
    rows = pa.table(
        {
            "user_id": user,
            "item_id": pa.array([f"i'{k:03d}" for k in item]),
            "rating": rating,
            "event_ts": pa.array(times, pa.timestamp("us")),
        }
    )
    for day in np.unique(days):
        place = folder / f"interactions/date={day}"
        place.mkdir(parents=True)
        pq.write_table(rows.filter(pa.array(days == day)), place / "rows.parquet")
    (folder / "items").mkdir()
    attributes = [[("genres", [GENRES[k % 3]])] for k in range(items)]
    table = {
        "item_id": [f"i'{k:03d}" for k in range(items)],
        "title": [f"Film {k}" for k in range(items)],
        "attributes": pa.array(attributes, MAP),
    }
    pq.write_table(pa.table(table), folder / "items/items.parquet")


# for trainings of which rows are measured, not lists: the ranker has next to nothing to learn
FEW_CANDIDATES = [
    f"--candidates.{name.replace('_', '-')}={count}"
    for name, count in {**dict.fromkeys(GENERATOR_NAMES, 0), "popular": 20}.items()
]


def write_workspace(folder, config=CONFIG, **lake):
    "A workspace with a tiny lake; returns the path of its settings."
    write_lake(folder / "lake", **lake)
    (folder / "ccf.toml").write_text(config)
    return folder / "ccf.toml"


def write_base(folder, kind="Qwen3", head_dim=16, tied=True):
    "A pretrained base as somebody would bring one: tiny, of random weights, in a folder."
    import torch
    import transformers

    from ccf_batch.lm.causal_lm import nano_tokenizer
    from ccf_batch.settings import Settings

    tokenizer = nano_tokenizer([f"Film {k}" for k in range(50)], Settings())
    torch.manual_seed(1)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer) + 7,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=head_dim,
        tie_word_embeddings=tied,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    getattr(transformers, f"{kind}ForCausalLM")(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def model_of(settings, lm=None, seed=0, head=0.3):
    "A model with a fitted encoder and a language model that has a say, but has learned nothing; its catalogue."
    import torch

    from ccf_batch.cf.encoder import Examples, encoder_class
    from ccf_batch.data.batch import Catalogue, as_groups
    from ccf_batch.lm.causal_lm import nano
    from ccf_batch.model.ccf import untrained

    n = 30
    catalogue = Catalogue(
        item_id=pa.array([f"i{k:02d}" for k in range(n)]),
        title=pa.array([f"Film {k}" for k in range(n - 1)] + [None]),
        attributes=pa.array([[("genres", [GENRES[k % 3]])] for k in range(n)], MAP),
        available=np.ones(n, bool),
        count=np.full(n, 20),
    )
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 20, 600), rng.integers(0, n - 2, 600)
    label = (rng.random(600) < np.where(user % 3 == item % 3, 0.8, 0.3)).astype(np.int8)
    rows = as_groups(user, item, label)
    cf = encoder_class(settings.cf.encoder).fit(Examples(*rows, 20, catalogue), settings)
    if lm is None:
        lm = nano(catalogue.title.to_pylist()[:-1], settings, seed=seed, steps=3)
        torch.manual_seed(seed)
        with torch.no_grad():
            lm.model.lm_head.weight.normal_(std=head)
    users = pa.array(range(20))
    return untrained(settings, lm, cf, catalogue, users, dt.datetime(2026, 7, 1)), catalogue


def save(model, metrics, seconds=0.0):
    "Save a bundle of a model, on top of a ranker that adds up ranks."
    from ccf_batch.candidates.ranker import fuse_ranks
    from ccf_batch.data.ranked import Calibration
    from ccf_batch.model.bundle import Parts, save

    ranker, calibration = fuse_ranks(["rank_repeat", "rank_popular"]), Calibration(1.0, 0.0)
    parts = Parts(model.settings, model.trained_until, ranker, calibration=calibration, model=model)
    return save(parts, metrics, seconds)


def batch_of(rng, groups, items=30, users=22, candidates=4, longest=6):
    "Random groups; users 20 and 21, and the last two items, are not in the encoder's training rows."
    from ccf_batch.data.batch import Batch
    from ccf_batch.data.ragged import offsets_of

    seen, offered = rng.integers(0, longest, groups), rng.integers(1, candidates + 1, groups)
    return Batch(
        user_id=pa.array(rng.integers(0, users, groups)),
        history=rng.integers(0, items, seen.sum()).astype(np.int32),
        history_offsets=offsets_of(seen),
        candidate=rng.integers(0, items, offered.sum()).astype(np.int32),
        candidate_offsets=offsets_of(offered),
    )
