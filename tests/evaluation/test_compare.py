"Models side by side: the same rows, intervals that are those of the bootstrap, RelaImpr, tables."

import math

import numpy as np
import pytest

from ccf_batch.evaluation.compare import baseline_margins, measure, sheets
from ccf_batch.metrics import paired_difference, quality, rela_impr, resample


def rows_of(seed=0, n=600):
    rng = np.random.default_rng(seed)
    user, good = rng.integers(0, 20, n), rng.normal(size=n)
    label = (rng.random(n) < 1 / (1 + np.exp(-good))).astype(np.int8)
    margins = {
        "model": good.astype(np.float32),
        "ItemMean": rng.normal(size=n),
        "BiasContent": good + rng.normal(size=n),
    }
    return margins, user, label, rng.random(n) < 0.6


def test_rows_are_left_out_for_all_models_where_one_has_no_margin():
    margins, user, label, warm = rows_of()
    margins["model"][:50] = np.nan
    found = {(r["model"], r["subset"]): r for r in measure(margins, user, label, warm, 20)}
    assert list(found)[:4] == [
        ("model", "all"),
        ("model", "warm"),
        ("model", "cold"),
        ("ItemMean", "all"),
    ]
    assert found["BiasContent", "all"]["rows"] == 550
    cold = ~warm & (np.arange(600) >= 50)
    expected = quality(user[cold], label[cold], margins["BiasContent"][cold])
    row = found["BiasContent", "cold"]
    assert all(row[k] == getattr(expected, k) for k in expected._fields)


def test_intervals_and_differences_are_those_of_the_bootstrap_of_each_subset():
    margins, user, label, warm = rows_of(1)
    found = {(r["model"], r["subset"]): r for r in measure(margins, user, label, warm, 50, seed=7)}
    for subset, part in (("all", np.ones(600, bool)), ("warm", warm), ("cold", ~warm)):
        alone = {n: resample(user[part], label[part], m[part], 50, 7) for n, m in margins.items()}
        row = found["model", subset]
        for metric in ("auc", "uauc", "log_loss"):
            assert (row[f"{metric}_low"], row[f"{metric}_high"]) == alone["model"].interval(metric)
        for metric in ("auc", "uauc"):
            paired = paired_difference(alone["model"], alone["BiasContent"], metric)
            assert tuple(row[f"{metric}_diff{e}"] for e in ("", "_low", "_high")) == paired
        assert row["relaimpr"] == {
            b: pytest.approx(rela_impr(row["auc"], alone[b].quality.auc), nan_ok=True)
            for b in ("ItemMean", "BiasContent")
        }


def test_scores_that_only_rank_have_no_log_loss_and_nobody_to_compare_with_is_said():
    margins, user, label, warm = rows_of(2)
    del margins["BiasContent"]
    found = measure(margins, user, label, warm, 10, ranking={"model"}, bases=["ItemMean"])
    row = found[0]
    assert math.isnan(row["log_loss"]) and math.isnan(row["calibration_error"])
    assert math.isnan(row["log_loss_low"]) and not math.isnan(row["auc"])
    assert row["against"] is None and math.isnan(row["auc_diff"])
    assert not math.isnan(found[3]["log_loss"])


def test_tables_hold_every_model_and_say_nothing_where_there_is_no_number():
    margins, user, label, _ = rows_of(3)
    results = measure(margins, user, label, np.ones(600, bool), 20)
    results[0] |= {"seconds": 1.5, "parameters": 1234567}
    overall, differences, gains, apart = sheets(results)
    for sheet in (overall, differences, gains, apart):
        names = [n for n in margins if sheet is not differences or n != "BiasContent"]
        assert [row[0] for row in sheet.rows] == names
        assert all(len(row) == len(sheet.columns) for row in sheet.rows)
    assert overall.rows[0][-1] == "1,234,567" and overall.rows[1][-1] == "–"
    assert apart.rows[0][5:] == ["–"] * 4  # no row is cold
    assert f"{results[0]['auc']:.4f}" in overall.rows[0]
    # without the rival of all, and without any base, there is nothing to show of them
    alone = measure({"x": margins["model"]}, user, label, np.ones(600, bool), 5)
    assert len(sheets(alone)) == 2


def test_baselines_know_items_and_users_by_their_ids():
    import pyarrow as pa
    from tiny import batch_of
    from worlds import make_catalogue, make_settings

    from ccf_batch.data.batch import Batch

    rng = np.random.default_rng(0)
    items = make_catalogue([{"genres": ["a"]}, {"genres": ["b"]}, {"genres": ["a"]}])
    train = Batch(
        user_id=pa.array(["u", "v"]),
        history=np.zeros(0, np.int32),
        history_offsets=np.zeros(3, np.int64),
        candidate=np.array([0, 1, 0, 1], np.int32),  # rows of ["i2", "i0"]
        candidate_offsets=np.array([0, 2, 4]),
        label=np.array([1, 0, 1, 0], np.int8),
    )
    asked = batch_of(rng, groups=1)
    asked = Batch(
        pa.array(["u", "stranger"]),
        asked.history[:0],
        np.zeros(3, np.int64),
        np.array([2, 0, 1, 2], np.int32),
        np.array([0, 3, 4]),
    )
    costs = {}
    settings = make_settings(numeric=())
    found, warm, unknown = baseline_margins(
        train, pa.array(["i2", "i0"]), asked, items, settings, costs
    )
    assert unknown == (0.5, 0.25)  # users of groups, items of candidates
    assert warm.tolist() == [True, True, False, False]  # i1 has no rows, the stranger neither
    for name, margin in found.items():
        assert margin[0] > margin[2] > margin[1], name  # i2 was liked, i0 was not
        assert costs[name]["parameters"] >= 4 and costs[name]["seconds"] >= 0
