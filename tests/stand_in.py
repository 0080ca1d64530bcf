"""`python -m ccf_batch.score` with a trained bundle's place taken by a formula; for tests of all the rest.

Run as a program it takes the same flags. Everything else is real: tables, assembly, rules, publication.
"""

import contextlib
import datetime as dt
import sys
import time
import tomllib
from types import SimpleNamespace
from unittest import mock

import numpy as np

SLEEP_S = 0.05  # a shard, so that a kill finds something under way


class Scorer:
    "A margin that is a function of the user and the item alone."

    engine_name, dtype, dtype_reason, notes = "formula", "float32", "a stand-in", ()

    def __init__(self, model, catalogue, token_budget, make_engine):
        pass

    def score(self, batch):
        time.sleep(SLEEP_S)
        user = np.array([hash_of(u) for u in batch.user_id.to_pylist()])[batch.group_of]
        margin = np.sin(user * 12.9898 + batch.candidate * 78.233).astype(np.float32) * 4
        c = len(margin)
        return SimpleNamespace(
            margin=margin,
            tokens=30 * c,
            tokens_unshared=150 * c,
            tokens_least=30 * c,
            cold_users=0,
            cold_items=0,
        )

    def close(self):
        pass


def hash_of(user) -> int:
    "The same number for the same id in every process."
    return int.from_bytes(str(user).encode()[-6:], "big") % 10_007


def read(path):
    "What `bundle.read` says: this one's name is its id, it has seen nothing, and fits `ccf.toml`."
    from ccf_batch.base.errors import InputError
    from ccf_batch.settings import Settings

    file = path.parent.parent / "ccf.toml"
    if not file.is_file():
        raise InputError(f"{path}: lies in no folder beside a ccf.toml")
    trained = Settings.model_validate(tomllib.loads(file.read_text())).saved()
    return SimpleNamespace(
        id=path.name, trained_until=dt.datetime(1970, 1, 1), settings=trained, model="a formula"
    )


def load_first_stage(path, workspace):
    "A ranker that adds up the ranks of the generators, which are real."
    from ccf_batch.candidates.generators import GENERATORS
    from ccf_batch.candidates.pair_features import columns_of
    from ccf_batch.candidates.ranker import fuse_ranks
    from ccf_batch.data.ranked import Calibration

    parts = SimpleNamespace(
        ranker=fuse_ranks(columns_of(GENERATORS)),
        scale=1.0,
        horizon=14,
        calibration=Calibration(1.0, 0.0),
    )
    lm = SimpleNamespace(num_parameters=lambda: 0)
    metadata, model = SimpleNamespace(model="a formula"), SimpleNamespace(lm=lm)
    return SimpleNamespace(id=path.name, parts=parts, metadata=metadata, model=model)


def load_model(loaded):
    return loaded


def newest(settings, date):
    return settings.bundles / "b1"


bundle = SimpleNamespace(
    read=read, load_first_stage=load_first_stage, load_model=load_model, newest=newest
)


@contextlib.contextmanager
def taken():
    "`ccf_batch.model.bundle` and `ccf_batch.model.scorer` are the stand-ins, for as long as it lasts."
    from ccf_batch import model

    parts = {"bundle": bundle, "scorer": SimpleNamespace(Scorer=Scorer, packed_engine=None)}
    before = {name: sys.modules.get(f"ccf_batch.model.{name}") for name in parts}
    places = [mock.patch.object(model, n, part, create=True) for n, part in parts.items()]
    sys.modules.update({f"ccf_batch.model.{name}": part for name, part in parts.items()})
    try:
        with places[0], places[1]:
            yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[f"ccf_batch.model.{name}"]
            else:
                sys.modules[f"ccf_batch.model.{name}"] = module


def main(argv=None) -> int:
    "The command, with the stand-ins."
    from ccf_batch import score
    from ccf_batch.base import console

    with taken():
        return console.main(score.ScoreCommand, score.run, "score", argv=argv)


if __name__ == "__main__":
    raise SystemExit(main())
