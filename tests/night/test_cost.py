"`cost`: counting work, fitting rates, probing."

import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccf_batch.data.batch import Batch
from ccf_batch.night import cost

few = st.integers(1, 40)


@pytest.mark.quick
@given(users=few, candidates=st.integers(2, 30), prefix=few, suffix=few)
def test_work_is_what_adding_up_gives(users, candidates, prefix, suffix):
    pairs = users * candidates
    work = cost.Work(users, pairs, prefix, suffix)
    one = sum(range(1, prefix + 1))
    one += candidates * sum(range(prefix + 1, prefix + suffix + 1))
    assert work.attended == pytest.approx(users * one)
    tokens = users * (prefix + candidates * suffix)
    assert work.tokens == tokens
    counts = {"users": users, "pairs": pairs, "tokens": tokens}
    counted = cost.Work.from_counts(counts | {"tokens_unshared": pairs * (prefix + suffix)})
    assert (counted.prefix, counted.suffix) == pytest.approx((prefix, suffix))


def test_one_candidate_each_is_counted_too():
    counts = {"users": 7, "pairs": 7, "tokens": 210, "tokens_unshared": 210}
    work = cost.Work.from_counts(counts)
    assert work.tokens == 210 and work.prefix + work.suffix == 30


@pytest.mark.quick
@given(st.lists(st.floats(0, 1), min_size=6, max_size=6), st.integers(0, 9))
def test_rates_of_what_is_linear_predict_it(rates, seed):
    rng = np.random.default_rng(seed)
    seen = rng.uniform(1, 1e6, (30, 6))
    seconds = 1e-3 + seen @ np.array(rates)
    found = cost.Rates.fit(seen, seconds)
    assert (found.seconds_each >= 0).all()
    new = rng.uniform(1, 1e6, 6)
    assert found.seconds(new) == pytest.approx(1e-3 + new @ np.array(rates), rel=0.05, abs=2e-3)


def test_a_larger_model_is_predicted_from_smaller_ones():
    true = cost.Rates(np.array([1e-4, 0, 1e-5, 1e-11, 3e-9, 5e-11]))
    sizes = [cost.Size(h * h * 12 * 4, h * 4, 4) for h in (64, 256, 512, 1024)]
    works = [cost.Work(30, 30 * n, P, 25) for n in (1, 20) for P in (64, 500)]
    cases = [(size.width, cost.features(work, 3, size)) for size in sizes for work in works]
    folds, seen = zip(*cases, strict=True)
    off = cost.cross_validated_errors(seen, [true.seconds(x) for x in seen], folds)
    assert abs(off).max() < 1e-6


def test_what_is_left_out_is_not_seen():
    seen = [cost.features(cost.Work(10, 10 * n, 30, 5), 1) for n in (1, 2, 3, 4)]
    seconds = [1.0, 2.0, 3.0, 400.0]
    off = cost.cross_validated_errors(seen, seconds, range(4))
    assert off[3] < -0.9  # nothing else says that it takes so long


def batch(users, candidates):
    return Batch(
        user_id=pa.array(range(users)),
        history=np.arange(users).astype(np.int32),
        history_offsets=np.arange(users + 1),
        candidate=np.concatenate([np.arange(n) for n in candidates]).astype(np.int32),
        candidate_offsets=np.concatenate([[0], np.cumsum(candidates)]),
        source=pa.array(["popular"] * sum(candidates)).dictionary_encode(),
    )


def test_thinning_keeps_users_and_every_fourth_candidate():
    thin = cost.thinned(batch(3, [1, 8, 9]), 4)
    assert thin.candidate.tolist() == [0, 0, 4, 0, 4, 8]
    assert thin.candidate_offsets.tolist() == [0, 1, 3, 6] and len(thin.source) == 6
    assert len(thin) == 3 and len(thin.history) == 3


def scored(batch):
    C, G = len(batch.candidate), len(batch)
    return {"users": G, "pairs": C, "tokens": 30 * G + 5 * C, "tokens_unshared": 35 * C}


def test_a_probe_says_nothing_where_it_has_no_time():
    assert cost.probe(batch(40, [9] * 40), scored, 10_000, most_s=0) is None
    assert cost.probe(batch(1, [9]), scored, 10_000, most_s=9) is None


def test_a_probe_stops_in_time():
    def slow(block):
        time.sleep(0.02)
        return scored(block)

    start = time.perf_counter()
    found = cost.probe(batch(4000, [9] * 4000), slow, 10**9, most_s=0.2)
    assert found.blocks < 20 and time.perf_counter() - start < 5
    # half of a sample whose users are all alike is like the whole
    assert (found.work.prefix, found.work.suffix) == (30, 5)
