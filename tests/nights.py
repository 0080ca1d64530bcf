"Replayed nights of a lake, with the ranker that is chosen on them."

import datetime as dt

from ccf_batch.candidates.choose import choose_on_nights
from ccf_batch.candidates.generators import GENERATORS
from ccf_batch.candidates.replay import Plan, replay_night


def choose(settings, dates, horizon):
    "Choose a ranker on the nights of some dates, by all that the last window shows."
    dates = sorted(dates, reverse=True)
    known = settings.cutoff(dates[0] + dt.timedelta(days=horizon))
    counts = {name: n for name, n in settings.candidates.counts.items() if name in GENERATORS}
    exclude = settings.candidates.exclude_seen
    nights = [replay_night(settings, d, known, horizon, counts, exclude) for d in dates]
    return choose_on_nights(Plan(horizon, dates), nights, settings.train.seed)
