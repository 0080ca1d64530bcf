"Replayed nights of a lake, ranked by the linear ranker that was fitted on the other nights."

import datetime as dt
from typing import NamedTuple

import numpy as np

from ccf_batch.candidates.generators import GENERATORS
from ccf_batch.candidates.ranker import Examples, fit_linear
from ccf_batch.candidates.replay import Night, replay_night


class Replayed(NamedTuple):
    nights: list[Night]
    scores: list[np.ndarray]
    deciding: int


def examples_of(nights):
    sizes = [len(n.item) for n in nights]
    return Examples(
        np.concatenate([n.features for n in nights]),
        np.concatenate([n.label for n in nights]),
        np.repeat(np.arange(len(nights)), sizes),
        np.concatenate([n.group for n in nights]),
        np.concatenate([n.item for n in nights]),
    )


def replay(settings, dates, horizon, deciding=1, known=None, users=None):
    "The nights of some dates, the newest first; what is known of them is what `known` (a date) knew."
    known = settings.cutoff(known or max(dates) + dt.timedelta(days=horizon))
    exclude = settings.candidates.exclude_seen
    counts = {name: n for name, n in settings.candidates.counts.items() if name in GENERATORS}
    nights = [
        replay_night(settings, d, known, horizon, counts, exclude, users)
        for d in sorted(dates, reverse=True)
    ]
    columns = [c for c in nights[0].columns if all(c in n.columns for n in nights)]
    nights = [
        n._replace(features=n.features[:, [n.columns.index(c) for c in columns]], columns=columns)
        for n in nights
    ]
    scores = []
    for k, night in enumerate(nights):
        others = [n for j, n in enumerate(nights) if j != k and j >= deciding]
        scores.append(fit_linear(examples_of(others), columns).score(night.features))
    return Replayed(nights, scores, deciding)
