"`runs`: what is listed, shown, verified and removed."

import datetime as dt
import json
import os
import time

import pytest
from small_runs import DAY, MACHINE, content, fingerprint, go

from ccf_batch import runs
from ccf_batch.base import console
from ccf_batch.base.fingerprint import run_id_of
from ccf_batch.night import publish, retention
from ccf_batch.night.run import Run, locked

DAYS = 86_400


@pytest.fixture
def ws(tmp_path):
    "Published, replaced, unfinished and a trial."
    (tmp_path / "ccf.toml").write_text("")
    go(tmp_path / "ranked", fingerprint(bundle="b1"))
    go(tmp_path / "ranked", fingerprint(bundle="b2"))
    go(tmp_path / "ranked", fingerprint(bundle="b3"), stop_after=1)
    go(tmp_path / "trials", fingerprint(limit_users=3))
    return tmp_path


def command(ws, *flags):
    argv = ["--config", str(ws / "ccf.toml"), *flags]
    return console.main(runs.RunsCommand, runs.run, "runs", argv=argv)


def states(ws):
    settings = runs.RunsCommand()
    settings._workspace = ws
    return [(run.state, run.record.get("bundle")) for run in retention.list_runs(settings)]


def age(ws, days):
    "As if all had been written so long ago."
    then = time.time() - days * DAYS
    said = dt.datetime.fromtimestamp(then, dt.UTC).isoformat(timespec="seconds")
    for path in [*ws.rglob("*"), *ws.rglob("*/")]:
        if path.name == "_manifest.json":
            about = json.loads(path.read_bytes()) | {"published_at": said}
            path.write_text(json.dumps(about))
        os.utime(path, (then, then))


def test_every_state_is_listed(ws, capsys):
    assert states(ws) == [
        ("published", "b2"),
        ("unfinished", None),
        ("replaced", "b1"),
        ("trial", "b1"),
    ]
    with locked(ws / "ranked", DAY):
        assert ("running", None) in states(ws)
    assert command(ws) == 0
    out = capsys.readouterr().out
    assert "4 runs" in out and "1 shards" in out and out.count(str(DAY)) == 4


def test_no_run_yet(tmp_path, capsys):
    (tmp_path / "ccf.toml").write_text("")
    assert command(tmp_path) == 3
    assert "no run yet" in capsys.readouterr().err


def test_show_explains_a_run(ws, capsys):
    for which in (str(DAY), run_id_of(fingerprint(bundle="b2"))[:8]):
        assert command(ws, "show", which) == 0
        out = capsys.readouterr().out
        for part in ("items/a.parquet", "b2", "settings.top_k", "versions.duckdb", "published"):
            assert part in out, part
    assert command(ws, "show", run_id_of(fingerprint(bundle="b3"))) == 0  # unfinished
    assert "settings.top_k" in capsys.readouterr().out
    assert command(ws, "show", "1999-01-01") == 2
    assert "lists all" in capsys.readouterr().err
    assert command(ws, "show") == 2


def damaged(ws, how):
    folder = ws / f"ranked/date={DAY}"
    file = sorted(folder.glob("*.parquet"))[0]
    manifest = json.loads((folder / "_manifest.json").read_bytes())
    if how == "gone":
        file.unlink()
    elif how == "a byte":
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif how == "a stranger":
        (folder / "more.parquet").write_bytes(file.read_bytes())
    elif how == "manifest":
        manifest["bundle"] = "b9"
    elif how == "rows":
        manifest["rows"] += 1
    elif how == "no manifest":
        (folder / "_manifest.json").write_text("{")
        return
    (folder / "_manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "how, said",
    [
        ("gone", "is missing"),
        ("a byte", "has other bytes than it was written with"),
        ("a stranger", "more.parquet: belongs to no run"),
        ("manifest", "not what the run's id says"),
        ("rows", "do not add up"),
        ("no manifest", "cannot be read"),
    ],
)
def test_verify_finds_what_changed(ws, capsys, how, said):
    assert command(ws, "verify", str(DAY)) == 0
    assert "36 rows" in capsys.readouterr().out
    damaged(ws, how)
    assert command(ws, "verify", str(DAY)) == 4
    err = capsys.readouterr().err
    assert said in err and "--overwrite" in err


@pytest.mark.parametrize("which, code", [("2020-01-01", 2), ("yesterday", 2)])
def test_verify_needs_a_published_date(ws, which, code):
    assert command(ws, "verify", which) == code


def test_prune_removes_old_runs_that_no_reader_sees(ws, capsys):
    assert command(ws, "prune", "--older-than", "14d") == 0
    assert "0 runs removed" in capsys.readouterr().out
    age(ws, 10)
    before = content(ws / "ranked")
    assert command(ws, "prune", "--older-than", "2w") == 0
    assert command(ws, "prune", "--older-than", "9d", "--dry-run") == 0
    assert "3 runs would go" in capsys.readouterr().out and len(states(ws)) == 4
    with locked(ws / "ranked", DAY):  # a date whose run is alive is passed over
        assert command(ws, "prune", "--older-than", "9d") == 0
    assert [state for state, _ in states(ws)] == ["published", "unfinished", "replaced"]
    assert command(ws, "prune", "--older-than", "9d") == 0
    assert [state for state, _ in states(ws)] == ["published"]
    assert content(ws / "ranked") == before


def test_prune_of_what_is_published_keeps_the_newest_date(ws, capsys):
    for day in (2, 3):
        root, date = ws / "ranked", dt.date(2026, 7, day)
        fp = fingerprint(date=date)
        with locked(root, date):
            run = Run(root, date, fp, MACHINE)
            publish.publish(run, 0, {})
    age(ws, 400)
    assert command(ws, "prune", "--older-than", "52w") == 0
    assert [state for state, _ in states(ws)] == ["published"] * 3
    assert command(ws, "prune", "--older-than", "52w", "--published") == 0
    assert [p.name for p in (ws / "ranked").glob("date=*")] == ["date=2026-07-03"]


def test_prune_takes_the_serving_checkpoints_of_bundles_that_are_gone(ws, capsys):
    served = ws / "bundles/.serving"
    for key in ("here", "gone", "young"):
        (served / key).mkdir(parents=True)
    (ws / "bundles/b1").mkdir()
    (ws / "bundles/b1/bundle.json").write_text('{"id": "here"}')
    age(ws, 20)
    os.utime(served / "young")
    assert command(ws, "prune", "--older-than", "14d", "--dry-run") == 0
    assert len(list(served.iterdir())) == 3
    assert command(ws, "prune", "--older-than", "14d") == 0
    assert sorted(p.name for p in served.iterdir()) == ["here", "young"]
    assert f"removed {served / 'gone'}" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["0d", "23h", "14", "-3d", "14d; rm"])
def test_prune_has_an_age_guard(ws, capsys, flag):
    assert command(ws, "prune", f"--older-than={flag}") == 2
    assert command(ws, "prune") == 2
    assert len(states(ws)) == 4


def test_a_folder_of_another_name_is_left_alone(ws):
    (ws / "ranked/date=soon").mkdir()
    (ws / "ranked/_staging/date=never").mkdir()
    age(ws, 400)
    assert command(ws, "prune", "--older-than", "52w", "--published") == 0
    assert (ws / "ranked/date=soon").is_dir() and (ws / "ranked/_staging/date=never").is_dir()
