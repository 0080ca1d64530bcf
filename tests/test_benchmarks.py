"`benchmarks/engines.py`: what it counts, and that the engines it times compute the same."

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "engines.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("benchmarks_engines", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lm(bench, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    bench.make("1 layer of 64", "float32", str(folder))
    return bench.load(str(folder))


def test_attended_is_what_adding_up_gives(bench):
    P, S, n, users = 70, 10, 3, 2
    shape = bench.Shape(P, S, n)
    pairs, full = users * n, sum(range(1, P + S + 1))
    assert bench.attended("padded", shape, users, pairs, pairs * (P + S)) == pairs * full
    shared = users * (P + n * S)
    own = sum(range(P + 1, P + S + 1))
    expected = users * sum(range(1, P + 1)) + pairs * own
    assert bench.attended("packed", shape, users, pairs, shared) == expected
    # vLLM reads two whole blocks of 32 from its cache, but for the first pair of a user
    hit = users * (n - 1) * 64
    expected = pairs * full - users * (n - 1) * sum(range(1, 65))
    assert bench.attended("vllm", shape, users, pairs, pairs * (P + S) - hit) == expected
    with pytest.raises(AssertionError):
        bench.attended("packed", shape, users, pairs, shared + 1)


def test_flops_of_a_model_counted_by_torch(bench, lm):
    from torch.utils.flop_counter import FlopCounterMode

    size, T = bench.Size.of(lm), 16
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        lm.decoder(inputs_embeds=torch.zeros(1, T, lm.hidden))
    products = size.flops(T, 0)
    # torch counts attention whole, as if no position were hidden, or not at all on a CPU
    assert counter.get_total_flops() - products in (0, 4 * size.width * T * T)
    assert size.parameters > size.weights


def test_flops_of_a_packed_pass_counted_by_torch(bench, lm):
    from torch.utils.flop_counter import FlopCounterMode

    size, shape = bench.Size.of(lm), bench.Shape(40, 6, 5)
    groups, suffixes = bench.workload(shape, lm.vocab_rows, 3)
    engine = bench.Packed(
        lm, bench.slot_rows(lm.hidden), SimpleNamespace(token_budget=3072, longest=64)
    )
    engine.take(suffixes, groups)
    with FlopCounterMode(display=False) as counter:
        _, tokens = engine.score(groups)
    products = counter.get_flop_counts()["Global"][torch.ops.aten.mm]
    # not needed: queries with all keys and values, and keys and values with the last tokens' queries
    wasted = 2 * lm.hidden**2 * (tokens + 2 * 15)
    assert products == size.flops(tokens, 0, (15, 0)) + wasted
    assert size.flops(tokens, 0, (15, 0)) < 0.5 * size.flops(tokens, 0)  # it has but one layer


def test_engines_agree_and_count_alike(bench, lm):
    shape, users = bench.Shape(40, 6, 5), 3
    groups, suffixes = bench.workload(shape, lm.vocab_rows, users)
    rows, args = bench.slot_rows(lm.hidden), SimpleNamespace(token_budget=128, longest=64)
    margins, tokens = {}, {}
    for name in ("padded", "cached", "packed"):
        engine = bench.CLASSES[name](lm, rows, args)
        engine.take(suffixes, groups)
        margins[name], tokens[name] = engine.score(groups)
    assert tokens["padded"] == users * 5 * 46
    assert tokens["cached"] == tokens["packed"] == users * (40 + 5 * 6)
    assert np.ptp(margins["padded"]) > 0.1
    for name in ("cached", "packed"):
        assert np.abs(margins[name] - margins["padded"]).max() < 1e-4


def test_the_workload_is_what_a_shape_says(bench):
    shape = bench.Shape(64, 2, 100)
    groups, suffixes = bench.workload(shape, 1000, 7)
    assert (np.diff(groups.prefix_offsets) == 64).all() and (suffixes.lengths == 2).all()
    assert (np.diff(groups.candidate_offsets) == 100).all()
    users = groups.prefix_ids[
        (groups.prefix_ids >= 1000) & (groups.prefix_ids < 1000 + bench.BLOCK)
    ]
    assert users.tolist() == list(range(1000, 1007))
    assert len(set(suffixes.ids.tolist())) >= bench.ITEMS  # each item has its slot
    again, _ = bench.workload(shape, 1000, 7)
    assert np.array_equal(groups.candidate, again.candidate)


@pytest.mark.parametrize("engine, pairs", [("padded", 16), ("cached", 20), ("packed", 80)])
def test_a_turn_fills_what_an_engine_computes_at_once(bench, engine, pairs):
    shape = bench.Shape(150, 25, 20)  # 650 tokens a user
    assert bench.unit_of(engine, 16, shape, budget=3072) == pairs


def test_plans_are_within_their_limits(bench):
    for plan in (bench.PLAN, bench.PLAN_GPU, bench.PLAN_QUICK):
        for model, dtype, shapes in plan:
            assert model in bench.CONFIGS or model == bench.SMOLLM2
            assert dtype in ("float32", "bfloat16")
            for shape in shapes:
                assert "padded" in shape.engines and set(shape.engines) <= bench.ENGINES.keys()
                assert shape.candidates <= bench.ITEMS
                # a group is never cut, so that what is computed can be counted from its shape
                assert shape.prefix + shape.candidates * shape.suffix <= 3072
