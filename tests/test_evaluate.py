"Evaluate: what is measured, on which rows, and what is refused."

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccf_batch import evaluate
from ccf_batch.console import main
from ccf_batch.metrics import quality

FIRST = dt.datetime(2026, 1, 1)
UNTIL = dt.date(2026, 2, 15)  # the bundle's: 45 of 60 days
CONFIG = """
[domain]
noun = "films"
liked_above = 3
[attributes]
categorical = ["genres"]
[model]
hidden = 32
[cf]
factors = 4
"""


def interactions(rng, n=3000):
    user, item = rng.integers(0, 60, n), rng.integers(0, 38, n)
    seconds = np.sort(rng.integers(0, 60 * 86400, n))
    z = (
        rng.normal(size=60)[user]
        + rng.normal(size=40)[item]
        + np.where(user % 2 == item % 2, 1, -1)
    )
    rating = np.where(rng.random(n) < 1 / (1 + np.exp(-z)), 5.0, 2.0)
    # a user and an item that only come up after the bundle's day
    late = seconds > 45 * 86400
    user[late & (user == 7)] = 60
    item[late & (item == 11)] = 39
    return user, item, rating, [FIRST + dt.timedelta(seconds=int(s)) for s in seconds]


def write_lake(folder, string_ids):
    user, item, rating, times = interactions(np.random.default_rng(0))

    def ids(numbers):
        return pa.array([f"id'{n:03d}" for n in numbers]) if string_ids else pa.array(numbers)

    days = np.array([t.date() for t in times])
    rows = pa.table(
        {
            "user_id": ids(user),
            "item_id": ids(item),
            "rating": rating,
            "event_ts": pa.array(times, pa.timestamp("us")),
        }
    )
    for day in np.unique(days):
        place = folder / f"interactions/date={day}"
        place.mkdir(parents=True)
        pq.write_table(rows.filter(pa.array(days == day)), place / "rows.parquet")
    (folder / "items").mkdir()
    attributes = [[("genres", [("Drama", "War")[n % 2]])] for n in range(40)]
    items = {
        "item_id": ids(np.arange(40)),
        "title": [f"Film {n}" for n in range(40)],
        "attributes": pa.array(attributes, pa.map_(pa.string(), pa.list_(pa.string()))),
    }
    pq.write_table(pa.table(items), folder / "items/items.parquet")


@pytest.fixture(scope="module", params=[False, True], ids=["numbers", "strings"])
def workspace(request, tmp_path_factory):
    "A lake and a bundle of its first 45 days, whose language model has a say but has learned nothing."
    import torch

    from ccf_batch import bundle
    from ccf_batch.assemble import Assembly
    from ccf_batch.database import connect
    from ccf_batch.lm import nano
    from ccf_batch.mf import MF
    from ccf_batch.model import untrained
    from ccf_batch.settings import load

    folder = tmp_path_factory.mktemp("workspace")
    write_lake(folder / "lake", request.param)
    (folder / "ccf.toml").write_text(CONFIG)
    settings = load(config=folder / "ccf.toml")
    then = Assembly(connect(), settings, UNTIL)
    catalogue, train = then.catalogue(), then.examples("train")
    users = train.user_id.unique()
    of = users.index
    rows = np.array([of(u).as_py() for u in train.user_id])
    mf = MF.fit(train, rows, len(users), catalogue, settings)
    small = nano(catalogue.title.to_pylist(), settings, seed=0, steps=5)
    torch.manual_seed(0)
    with torch.no_grad():
        small.model.lm_head.weight.normal_(std=0.1)
    model = untrained(settings, small, mf, catalogue, users, settings.cutoff(UNTIL))
    bundle.save(model, {})
    return folder


def evaluate_in(workspace, *flags):
    return main(
        evaluate.Command,
        evaluate.run,
        "evaluate",
        argv=["--config", str(workspace / "ccf.toml"), *flags],
    )


def results(workspace):
    (file,) = (workspace / "evaluations").glob("*.parquet")
    found = pq.read_table(file).to_pylist()
    file.unlink()
    return {(r["model"], r["subset"]): r for r in found}


def test_measures_the_model_beside_the_baselines_on_unseen_rows(workspace, capsys):
    assert evaluate_in(workspace) == 0
    found = results(workspace)
    names = ["model", "CF logit", "ItemMean", "Item+UserMean", "BiasContent"]
    assert [m for m, subset in found if subset == "all"] == names
    _, _, _, times = interactions(np.random.default_rng(0))
    unseen = sum(t >= dt.datetime.combine(UNTIL, dt.time()) for t in times)
    assert {found[n, "all"]["rows"] for n in names} == {unseen}
    assert found["model", "warm"]["rows"] + found["model", "cold"]["rows"] == unseen
    assert found["model", "cold"]["rows"] > 20
    assert found["CF logit", "all"]["auc"] > found["ItemMean", "all"]["auc"] > 0.5
    assert found["model", "all"]["auc"] != found["CF logit", "all"]["auc"]
    assert all(r["since"] == dt.datetime(2026, 2, 15) for r in found.values())
    out = capsys.readouterr().out
    assert all(name in out for name in names) and "evaluations" in out
    assert f"Candidates of {UNTIL}" in out and "covisited" in out


def test_the_same_question_has_the_same_answer(workspace):
    assert evaluate_in(workspace) == 0
    first = results(workspace)
    assert evaluate_in(workspace) == 0
    assert str(results(workspace)) == str(first)


def test_rows_that_the_bundle_has_seen_are_refused(workspace, capsys):
    assert evaluate_in(workspace, "--since", "2026-02-14") == 2
    assert "has seen rows until 2026-02-15" in capsys.readouterr().err
    assert evaluate_in(workspace, "--since", "2026-02-20", "--date", "2026-02-25") == 0
    few = results(workspace)["model", "all"]
    assert 0 < few["rows"] < 400 and few["before"] == dt.datetime(2026, 2, 25)


def test_without_unseen_rows_it_says_how_to_get_some(workspace, capsys):
    (bundle,) = (workspace / "bundles").iterdir()
    assert evaluate_in(workspace, "--date", "2026-02-15", "--bundle", str(bundle)) == 3
    assert "python -m ccf_batch.train --date 2026-01-18" in capsys.readouterr().err
    assert evaluate_in(workspace, "--date", "2026-02-10") == 2  # no bundle that old
    assert not list((workspace / "evaluations").glob("*.parquet"))


def test_rows_are_left_out_for_all_models_where_one_has_no_margin():
    rng = np.random.default_rng(0)
    user, label = rng.integers(0, 9, 300), rng.integers(0, 2, 300)
    a, b = rng.normal(size=300), rng.normal(size=300)
    warm = rng.random(300) < 0.5
    a[:50] = np.nan
    found = {
        (r["model"], r["subset"]): r for r in evaluate.measure(dict(a=a, b=b), user, label, warm)
    }
    assert found["b", "all"]["rows"] == 250
    cold = ~warm & ~np.isnan(a)
    assert found["b", "cold"]["auc"] == quality(user[cold], label[cold], b[cold]).auc


def test_help_is_quick_to_say(capsys):
    with pytest.raises(SystemExit) as stop:
        main(evaluate.Command, evaluate.run, "evaluate", argv=["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "--since" in out and "all that the bundle has not seen" in " ".join(out.split())
