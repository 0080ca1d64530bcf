"Evaluate: what is measured, on which rows, and what is refused."

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny

from ccf_batch import evaluate
from ccf_batch.base.console import main

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
[train]
loss = "pointwise"
[candidates]
exclude_seen = "none"  # of random ratings most repeat
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


def add_bundle(settings, date, seed=0):
    "A bundle of what was known at a date, whose language model has a say but has learned nothing."
    import torch

    from ccf_batch.cf.encoder import Examples
    from ccf_batch.cf.mf import MF
    from ccf_batch.data.assemble import Assembly
    from ccf_batch.data.database import connect
    from ccf_batch.lm.causal_lm import nano
    from ccf_batch.model.ccf import untrained

    then = Assembly(connect(), settings, date)
    catalogue, train = then.catalogue(), then.examples("train")
    users = train.user_id.unique()
    rows = np.array([users.index(u).as_py() for u in train.user_id])
    mf = MF.fit(Examples(train, rows, len(users), catalogue), settings)
    small = nano(catalogue.title.to_pylist(), settings, seed=seed, steps=5)
    torch.manual_seed(seed)
    with torch.no_grad():
        small.model.lm_head.weight.normal_(std=0.1)
    model = untrained(settings, small, mf, catalogue, users, settings.cutoff(date))
    return tiny.save(model, {"trained_parameters": 1234}, 5.5)


@pytest.fixture(scope="module", params=[False, True], ids=["numbers", "strings"])
def workspace(request, tmp_path_factory):
    "A lake and a bundle of its first 45 days."
    from ccf_batch.base.settings_file import load

    folder = tmp_path_factory.mktemp("workspace")
    write_lake(folder / "lake", request.param)
    (folder / "ccf.toml").write_text(CONFIG)
    add_bundle(load(config=folder / "ccf.toml"), UNTIL)
    return folder


def evaluate_in(workspace, *flags):
    return main(
        evaluate.EvaluateCommand,
        evaluate.run,
        "evaluate",
        argv=["--config", str(workspace / "ccf.toml"), *flags],
    )


def results(workspace):
    (file,) = (workspace / "evaluations").glob("*.parquet")
    found = pq.read_table(file).to_pylist()
    file.unlink()
    assert file.with_suffix(".html").is_file()
    return {(r["model"], r["subset"]): r for r in found}


def without_times(found):
    return {key: {k: v for k, v in r.items() if "seconds" not in k} for key, r in found.items()}


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
    model = found["model", "all"]
    assert model["parameters"] == 1234 and model["train_seconds"] == 5.5 and model["seconds"] > 0
    assert found["CF logit", "all"]["seconds"] is None
    assert found["ItemMean", "all"]["parameters"] > 38
    assert model["bundle"] == found["BiasContent", "all"]["bundle"]
    for r in found.values():
        assert r["auc_low"] <= r["auc"] <= r["auc_high"]
        assert r["auc_diff_low"] <= r["auc_diff"] <= r["auc_diff_high"] and r["against"]
        for base, gain in r["relaimpr"]:
            over = found[base, r["subset"]]["auc"]
            assert gain == (pytest.approx((r["auc"] - over) / (over - 0.5)) if over > 0.5 else None)
    assert [b for b, _ in model["relaimpr"]] == [
        "ItemMean",
        "Item+UserMean",
        "BiasContent",
        "CF logit",
    ]
    assert found["BiasContent", "all"]["auc_diff"] == 0
    out = capsys.readouterr().out
    assert all(name in out for name in names) and "evaluations" in out
    (page,) = (workspace / "evaluations").glob("*-before-2026-03-02.html")
    text = page.read_text()
    assert all(f">{name}</td>" in text for name in names) and f"{model['auc']:.4f}" in text
    assert f"Candidates of {UNTIL}" in out and "covisited" in out


def test_the_same_question_has_the_same_answer(workspace):
    assert evaluate_in(workspace) == 0
    first = results(workspace)
    assert evaluate_in(workspace) == 0
    assert without_times(results(workspace)) == without_times(first)


def test_rows_that_the_bundle_has_seen_are_refused(workspace, capsys):
    assert evaluate_in(workspace, "--since", "2026-02-14") == 2
    assert "has seen rows until 2026-02-15" in capsys.readouterr().err
    assert evaluate_in(workspace, "--since", "2026-02-20", "--before", "2026-02-25") == 0
    few = results(workspace)["model", "all"]
    assert 0 < few["rows"] < 400 and few["before"] == dt.datetime(2026, 2, 25)


def test_without_unseen_rows_it_says_how_to_get_some(workspace, capsys):
    (bundle,) = (workspace / "bundles").iterdir()
    assert evaluate_in(workspace, "--before", "2026-02-15", "--bundle", str(bundle)) == 3
    err = capsys.readouterr().err
    assert f"{bundle} has seen it" in err
    assert f"python -m ccf_batch.train --config {workspace}/ccf.toml --date 2026-02-10\n" in err
    assert evaluate_in(workspace, "--before", "2026-02-10") == 3  # no bundle that old
    err = capsys.readouterr().err
    assert "every bundle has seen it" in err and "--date 2026-02-05\n" in err
    assert evaluate_in(workspace, "--since", "2026-05-01") == 3
    assert "--since 2026-05-01: there are no labelled rows from then on" in capsys.readouterr().err
    assert evaluate_in(workspace, "--since", "2026-02-12", "--before", "2026-02-15") == 3
    assert "--date 2026-02-12\n" in capsys.readouterr().err
    assert evaluate_in(workspace, "--before", "2026-01-02") == 3
    assert "of too short a time" in capsys.readouterr().err
    assert not list((workspace / "evaluations").glob("*.parquet"))


def asked_pairs(workspace):
    "The pairs that are evaluated, with their labels, from the lake itself."
    import duckdb

    return duckdb.execute(
        "SELECT user_id, item_id, rating > 3 AS label FROM read_parquet($lake) "
        "WHERE event_ts >= $since ORDER BY ALL",
        {"lake": f"{workspace}/lake/interactions/*/*.parquet", "since": dt.datetime(2026, 2, 15)},
    ).fetchall()


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_anyones_scores_stand_in_the_same_table(workspace, tmp_path, capsys, form):
    pairs = {(u, i): label for u, i, label in asked_pairs(workspace)}  # the last label of a pair
    (u0, i0), *_ = pairs
    left_out = sum((u, i) == (u0, i0) for u, i, _ in asked_pairs(workspace))
    rows = [(u, i, 0.9 if label else 0.1) for (u, i), label in pairs.items() if (u, i) != (u0, i0)]
    rows += [(u0, "id'999" if isinstance(i0, str) else 10**6, 0.5)]  # a pair that nobody asks for
    columns = [pa.array(c) for c in zip(*rows, strict=True)]
    table = pa.table(dict(zip(("user_id", "item_id", "score"), columns, strict=True)))
    file = tmp_path / f"scores, all.{form}"
    if form == "csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(table, file)
    else:
        pq.write_table(table, file)
    name = "<script>alert('é')</script>"
    ranks = tmp_path / "ranks.parquet"
    pq.write_table(table.set_column(2, "score", [pa.array([10 * r[2] for r in rows])]), ranks)
    flags = [f'["{name}={file}","ranks={ranks}"]'] if form == "csv" else []
    flags = flags or [f"ranks={ranks}"]
    assert evaluate_in(workspace, *(f for flag in flags for f in ("--scores", flag))) == 0
    out = capsys.readouterr().out
    (page,) = (workspace / "evaluations").glob(f"*-and-{1 + (form == 'csv')}-*.html")
    text = page.read_text()
    found = results(workspace)
    unseen = len(asked_pairs(workspace))
    assert found["model", "all"]["rows"] == found["ranks", "all"]["rows"] == unseen - left_out
    assert found["ranks", "all"]["log_loss"] is None and "only ranked" in out
    assert found["ranks", "all"]["auc"] > 0.9 and found["ranks", "all"]["auc_diff_low"] > 0
    assert f"{left_out:,} evaluated rows have none" in out
    if form == "csv":
        mine = found[name, "all"]
        assert mine["auc"] == found["ranks", "all"]["auc"]
        assert (
            mine["log_loss"] < found["model", "all"]["log_loss"] and mine["calibration_error"] > 0
        )
        assert "<script" not in text and "&lt;script&gt;alert(&#39;é&#39;)&lt;/script&gt;" in text
        assert mine["bundle"] is None and mine["parameters"] is None


def test_several_bundles_are_measured_on_rows_that_none_has_seen(workspace, tmp_path, capsys):
    import shutil

    from ccf_batch.base.settings_file import load

    shutil.copytree(workspace, tmp_path / "w", ignore=shutil.ignore_patterns("evaluations"))
    folder = tmp_path / "w"
    (newer,) = (folder / "bundles").iterdir()
    flags = ["--prompt.history-length", "3", "--domain.liked-above", "3"]
    older = add_bundle(load(config=folder / "ccf.toml", flags=flags), dt.date(2026, 2, 10), seed=1)
    both = ("--bundle", str(older), "--bundle", str(newer))
    assert evaluate_in(folder, *both) == 0
    out = capsys.readouterr().out
    (parquet,) = (folder / "evaluations").glob("*.parquet")
    assert parquet.name.startswith(f"{newer.name}-and-1-")
    found = results(folder)
    names = [m for m, subset in found if subset == "all"]
    short = {b: b.name[-16:][:8] for b in (newer, older)}  # of their ids
    each = [f"{what} {short[b]}" for b in (newer, older) for what in ("model", "CF logit")]
    assert names == [*each, "ItemMean", "Item+UserMean", "BiasContent"]
    assert all(r["since"] == dt.datetime(2026, 2, 15) for r in found.values())
    assert len({r["rows"] for (_, subset), r in found.items() if subset == "all"}) == 1
    # rows were brought into one order: alone, and on the same rows, the older one says the same
    assert evaluate_in(folder, "--bundle", str(older), "--since", "2026-02-15") == 0
    alone = results(folder)["model", "all"]
    assert alone["auc"] == pytest.approx(found[f"model {short[older]}", "all"]["auc"])
    assert alone["log_loss"] == pytest.approx(found[f"model {short[older]}", "all"]["log_loss"])
    # a bundle whose likes are others cannot be in one table with it
    other = load(config=folder / "ccf.toml", flags=["--domain.liked-above", "1"])
    odd = add_bundle(other, dt.date(2026, 2, 9), seed=2)
    capsys.readouterr()
    assert evaluate_in(folder, "--bundle", str(newer), "--bundle", str(odd)) == 2
    assert "evaluate it by itself" in capsys.readouterr().err
    assert evaluate_in(folder, "--bundle", str(newer), "--bundle", str(newer)) == 2
    assert "given twice" in capsys.readouterr().err
    assert out.count("trained until") == 2


def test_a_published_night_is_held_against_what_came_after(workspace, tmp_path, capsys):
    import shutil

    from ccf_batch import score
    from ccf_batch.base.settings_file import load

    shutil.copytree(workspace, tmp_path / "w", ignore=shutil.ignore_patterns("evaluations"))
    text = (tmp_path / "w/ccf.toml").read_text()
    (tmp_path / "w/ccf.toml").write_text(text.replace('exclude_seen = "none"', ""))
    shutil.rmtree(tmp_path / "w/bundles")
    add_bundle(load(config=tmp_path / "w/ccf.toml"), UNTIL)
    config = ["--config", str(tmp_path / "w/ccf.toml")]
    night = ["--date", "2026-02-15"]
    assert evaluate_in(tmp_path / "w", *night) == 2
    proposed = f"python -m ccf_batch.score {' '.join(config)} --date 2026-02-15"
    assert proposed in capsys.readouterr().err
    flags = [*config, *night, "--top-k", "6"]
    assert main(score.ScoreCommand, score.run, "score", argv=flags) == 0
    capsys.readouterr()
    assert evaluate_in(tmp_path / "w", *night) == 0
    out = capsys.readouterr().out
    assert "Candidates of 2026-02-15" in out and "popular" in out and "missed: seen before" in out
    place = tmp_path / "w/evaluations/published"
    found = pq.read_table(place / "2026-02-15-7-days.parquet").to_pylist()
    lists = ["published", "popular", "covisited", "neighbours", "all_neighbours", "factors"]
    lists += ["linear", "trending", "new"]  # nothing to repeat, and no word in more than one title
    assert [(r["list"], r["k"]) for r in found] == [(name, k) for name in lists for k in (5, 6)]
    assert all(r["recall_low"] <= r["recall"] <= r["recall_high"] for r in found)
    assert all(r["days"] == 7 and r["date"] == dt.date(2026, 2, 15) for r in found)
    assert 0 < found[1]["full_lists"] <= 1 and 0 < found[0]["users_covered"] <= 1
    assert (place / "2026-02-15-7-days.html").read_text().count("<table>") == 4
    # flags that are about rows, and days without any event
    for flag in (["--since", "2026-02-20"], ["--before", "2026-02-20"], ["--scores", "a=b.csv"]):
        assert evaluate_in(tmp_path / "w", *night, *flag) == 2
        assert flag[0] in capsys.readouterr().err
    late = ["--date", "2026-03-02"]
    assert main(score.ScoreCommand, score.run, "score", argv=[*config, *late]) == 0
    assert evaluate_in(tmp_path / "w", *late) == 3
    assert "nothing was liked" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag", ["scores.csv", "=a.csv", "model=a.csv", "BiasContent=a.csv", '"=a']
)
def test_a_score_file_without_a_name_of_its_own_is_refused(workspace, capsys, flag):
    assert evaluate_in(workspace, "--scores", flag) == 2
    assert "scores" in capsys.readouterr().err


def test_help_is_quick_to_say(capsys):
    with pytest.raises(SystemExit) as stop:
        main(evaluate.EvaluateCommand, evaluate.run, "evaluate", argv=["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    out = " ".join(out.split())
    assert "--since" in out and "all that the bundles have not seen" in out
    assert "Measure the list published for this date" in out


def tiny_workspace(folder, days):
    "The tiny lake, cut after this many of its 60 days."
    import shutil

    import tiny

    folder.mkdir(exist_ok=True)
    config = tiny.write_workspace(folder)
    for place in (folder / "lake/interactions").iterdir():
        if dt.date.fromisoformat(place.name[5:]) >= tiny.FIRST.date() + days * dt.timedelta(days=1):
            shutil.rmtree(place)
    return config


def proposed(err):
    "The flags of the command that a message proposes."
    import shlex

    (line,) = (line for line in err.splitlines() if line.startswith("  python -m ccf_batch.train "))
    return shlex.split(line)[3:]


@pytest.mark.parametrize("days, date", [(60, "2026-02-23"), (10, "2026-01-09")])
def test_the_proposed_command_leaves_rows_to_measure(tmp_path, capsys, days, date):
    "Train, score, evaluate; the command that this proposes; evaluate."
    from ccf_batch import score, train

    folder = tmp_path / "a workspace"
    config = tiny_workspace(folder, days)
    flags = ["--config", str(config), "--checks.on-failure", "warn"]
    assert main(train.TrainCommand, train.run, "train", argv=flags[:2]) == 0
    assert main(score.ScoreCommand, score.run, "score", argv=flags) == 0
    (first,) = (folder / "bundles").glob("2*")
    capsys.readouterr()
    assert evaluate_in(folder) == 3
    err = capsys.readouterr().err
    assert "every bundle has seen it" in err
    argv = proposed(err)
    assert argv == ["--config", str(config), "--date", date]
    assert main(train.TrainCommand, train.run, "train", argv=argv) == 0
    (second,) = set((folder / "bundles").glob("2*")) - {first}
    capsys.readouterr()
    assert evaluate_in(folder) == 0
    out = capsys.readouterr().out
    assert (
        f"Measuring {second}, the newest that leaves rows; the newest, {first.name}, has seen all"
        in out
    )
    found = results(folder)["model", "all"]
    assert found["bundle"] == second.name[-16:] and found["rows"] > 10 * days / 60
    # with --since, one that has seen nothing from then on
    capsys.readouterr()
    last = FIRST.date() + dt.timedelta(days=days - 1)
    assert evaluate_in(folder, "--since", f"{last}") == 0
    assert f"Measuring {second}" in capsys.readouterr().out


def test_without_a_bundle_the_first_one_leaves_rows(tmp_path, capsys):
    tiny_workspace(tmp_path / "w", 60)
    assert evaluate_in(tmp_path / "w") == 3
    err = capsys.readouterr().err
    assert "there is no bundle in" in err and proposed(err)[-1] == "2026-02-23"


def test_data_of_a_day_are_too_short(tmp_path, capsys):
    tiny_workspace(tmp_path / "w", 1)
    assert evaluate_in(tmp_path / "w") == 3
    err = capsys.readouterr().err
    assert "of too short a time" in err and "ccf_batch.train" not in err


def purchases(folder, late):
    "Half a year of purchases, a bundle of them, and `late` events after it; returns the workspace."
    from lakes import Event, Item, settings_for
    from lakes import write_lake as write_events

    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 30, 1000), rng.integers(0, 20, 1000)
    events = [
        Event(f"u{u}", f"i{i}", FIRST + n * dt.timedelta(hours=1), 5.0)
        for n, (u, i) in enumerate(zip(user, item, strict=True))
    ]
    until = dt.datetime(2026, 2, 15)
    late = [Event(u, i, until + n * dt.timedelta(hours=1), r) for n, (u, i, r) in enumerate(late)]
    write_events(folder, [Item(f"i{n}") for n in range(20)], events + late)
    (folder / "ccf.toml").write_text("[domain]\nliked_above = 3\n[cf]\nfactors = 2\n")
    again = {"exclude_seen": "none"}
    pointwise = {"loss": "pointwise"}
    settings = settings_for(folder, cf={"factors": 2}, candidates=again, train=pointwise)
    add_bundle(settings, until.date())
    return folder


def test_rows_are_of_the_kind_that_the_bundle_was_trained_on(tmp_path, capsys):
    "Negatives were sampled in training, so they are sampled here, though many dislikes came since."
    late = [(f"new{n}", f"i{n % 20}", 5.0 if n % 2 else 1.0) for n in range(160)]
    folder = purchases(tmp_path, late)
    assert evaluate_in(folder) == 0
    out = capsys.readouterr().out
    assert "negatives: sampled (auto: none of 1,000 events is a dislike)" in out
    assert "80 dislikes left out (train.negatives_from)" in out
    model = results(folder)["model", "all"]
    assert model["rows"] == 400
    assert evaluate_in(folder, "--train.negatives-from", "explicit") == 0
    assert "negatives: explicit (train.negatives_from; 80 of 1,160" in capsys.readouterr().out
    model = results(folder)["model", "all"]
    assert model["rows"] == 160
    # a few dislikes are examples beside the sampled negatives
    assert evaluate_in(folder, "--train.negatives-from", "both") == 0
    model = results(folder)["model", "all"]
    assert model["rows"] == 480


def test_where_no_negative_can_be_sampled_the_cause_is_named(tmp_path, capsys):
    "After the bundle's day somebody takes everything in one moment, and takes it again."
    folder = purchases(tmp_path, [])
    file = folder / "lake/interactions/date=2026-03-01/0.parquet"
    file.parent.mkdir()
    table = {
        "user_id": ["all"] * 20,
        "item_id": [f"i{n}" for n in range(20)],
        "event_ts": pa.array([dt.datetime(2026, 3, 1)] * 20, pa.timestamp("us")),
        "rating": [5.0] * 20,
    }
    pq.write_table(pa.table(table), file)
    assert evaluate_in(folder) == 3
    captured = capsys.readouterr()
    assert "20 likes left out: no negative could be sampled" in captured.out
    assert "no negative can be sampled for the rows from 2026-02-15" in captured.err
    assert "(31 users, 20 items with events)" in captured.err
