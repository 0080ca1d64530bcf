"Catalogues, settings and real data that the tests of learned parts share."

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ccf_batch.assemble import Catalogue
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
