"Catalogues, settings and real data that the tests of learned parts share."

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ccf_batch.data.batch import Batch, Catalogue
from ccf_batch.data.ragged import offsets_of
from ccf_batch.settings import Attributes, Cf, Settings

MAP = pa.map_(pa.string(), pa.list_(pa.string()))


def make_catalogue(attributes):
    n = len(attributes)
    return Catalogue(
        item_id=pa.array([f"i{r}" for r in range(n)]),
        title=pa.array([None] * n, pa.string()),
        attributes=pa.array([None if a is None else list(a.items()) for a in attributes], MAP),
        available=np.ones(n, bool),
        count=np.zeros(n, np.int64),
    )


def make_settings(categorical=("genres",), numeric=("year",), **cf):
    attributes = Attributes(categorical=list(categorical), numeric=list(numeric))
    return Settings(attributes=attributes, cf=Cf(**cf))


def read_movies(shared):
    "ml-1m-ctr with genres and years: catalogue, users, and (user, item, label) of each split."
    genres = {}
    with open(shared / "ml-1m-meta/movies.dat", encoding="latin-1") as lines:
        for line in lines:
            _, title, names = line.rstrip("\n").split("::")
            genres[title] = names.split("|")
    tables = {
        s: pq.read_table(shared / f"ml-1m-ctr/{s}.parquet") for s in ("train", "valid", "test")
    }
    title = {}
    for t in tables.values():
        title |= dict(zip(t["item_id"].to_pylist(), t["title"].to_pylist(), strict=True))
    ids = np.array(sorted(title))
    year = [re.search(r"\((\d{4})\)$", title[i])[1] for i in ids]
    catalogue = make_catalogue(
        [{"genres": genres[title[i]], "year": [y]} for i, y in zip(ids, year, strict=True)]
    )
    rows = {
        s: (t["user_id"].to_numpy(), np.searchsorted(ids, t["item_id"]), t["label"].to_numpy())
        for s, t in tables.items()
    }
    return catalogue, 1 + max(int(r[0].max()) for r in rows.values()), rows


def without_history(n):
    "As `Encoder.users` takes the histories of n users who have none."
    return np.empty(0, np.int32), np.zeros(n + 1, np.int64)


def pairs_logit(encoder, user, item, n_users, catalogue):
    "The CF logit of pairs of users and items without a history."
    items = encoder.items(catalogue, np.arange(len(catalogue)))
    users = encoder.users(np.arange(n_users), items, *without_history(n_users))
    return encoder.logit(users, items, user, item)


def groups_over_time(user, item, label, length=10):
    "Rows, a minute each, as groups: one a user and like, with the likes before as its history; their users."
    order = np.lexsort((np.arange(len(user)), user))
    user, item, label = user[order], item[order], label[order]
    starts, histories, liked = [], [], []
    for r in range(len(user)):
        if not r or user[r] != user[r - 1]:
            liked = []
        elif label[r - 1]:
            liked = [*liked, item[r - 1]][-length:]
        else:
            continue
        starts.append(r)
        histories.append(liked)
    batch = Batch(
        user_id=pa.array(user[starts]),
        history=np.concatenate([*histories, []]).astype(np.int32),
        history_offsets=offsets_of([len(h) for h in histories]),
        candidate=item.astype(np.int32),
        candidate_offsets=np.append(starts, len(user)).astype(np.int64),
        label=label,
        event_ts=np.datetime64("2026-01-01", "us") + order.astype("m8[m]"),
    )
    return batch, user[starts].astype(np.int32)
