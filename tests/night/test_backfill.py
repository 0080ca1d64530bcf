"`score --dates A..B`, `--resume never`, and a bundle that is too old."

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import stand_in

from ccf_batch.night import backfill, scoring

STAND_IN = Path(stand_in.__file__)


@pytest.fixture
def ws(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(stand_in, "SLEEP_S", 0)
    ws = shutil.copytree(sample, tmp_path / "w")
    with (ws / "ccf.toml").open("a") as f:
        f.write("\n[score]\nshard_users = 200\nthreads = 1\n")
    return ws


def command(ws, *flags):
    return stand_in.main(["--config", str(ws / "ccf.toml"), "--show-users", "0", *flags])


def manifest(ws, date="2025-07-01"):
    return json.loads((ws / f"ranked/date={date}/_manifest.json").read_bytes())


def dates(ws):
    return sorted(p.name[5:] for p in ws.glob("ranked/date=*"))


def test_each_date_on_its_own_and_a_failing_one_stops_no_other(ws, capsys, monkeypatch):
    real = scoring.score_shards

    def fails_on_the_30th(night, run, bar):
        if str(run.final).endswith("2025-06-30"):
            raise ZeroDivisionError("a bug")
        real(night, run, bar)

    monkeypatch.setattr(scoring, "score_shards", fails_on_the_30th)
    assert command(ws, "--dates", "2025-06-29..2025-07-01") == 1
    out, err = capsys.readouterr()
    assert dates(ws) == ["2025-06-29", "2025-07-01"]
    assert "1 of 3 dates failed: 2025-06-30" in err and "Traceback" in err
    assert out.count("there") == 2 and "ZeroDivisionError: a bug" in out
    monkeypatch.undo()
    before = manifest(ws)
    assert command(ws, "--dates", "2025-06-29..2025-07-01") == 0  # only what is missing is made
    assert len(dates(ws)) == 3 and manifest(ws) == before
    assert manifest(ws, "2025-06-30")["attempts"] == 2
    # a date of the range is the same as that date alone
    files = {p.name: p.read_bytes() for p in ws.glob("ranked/date=2025-06-30/*.parquet")}
    assert command(ws, "--date", "2025-06-30", "--overwrite", "--resume", "never") == 0
    assert files == {p.name: p.read_bytes() for p in ws.glob("ranked/date=2025-06-30/*.parquet")}


def test_nobody_to_score_is_no_failure(ws, capsys):
    early = "2024-06-01"  # before the first event
    assert command(ws, "--dates", f"{early}..{early}") == 3
    assert "nothing to do" in capsys.readouterr().out


def test_the_worst_failure_is_the_exit_code():
    from ccf_batch.base.errors import CheckFailed, DatesFailed, InputError

    for errors, code in (
        ((CheckFailed("x"), InputError("y")), 2),
        ((CheckFailed("x"), KeyError("z"), InputError("y")), 1),
        ((CheckFailed("x"),), 4),
    ):
        left = list(errors)

        def one(date, left=left):
            if left:
                raise left.pop()
            return {}

        with pytest.raises(DatesFailed) as e:
            backfill.score_dates(backfill.parse_date_range("2025-06-01..2025-06-09"), one)
        assert e.value.code == code


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--dates", "2025-06-30"], "no range of dates"),
        (["--dates", "2025-07-02..2025-07-01"], "ends before it begins"),
        (["--dates", "2025-06-30..2025-13-01"], "no range of dates"),
        (["--dates", "2025-06-30..2025-07-01", "--date", "2025-06-30"], "either --date or --dates"),
    ],
)
def test_ranges_that_are_none(ws, capsys, flags, said):
    assert command(ws, *flags) == 2
    assert said in capsys.readouterr().err


def test_resume_never_starts_over(ws, monkeypatch, capsys):
    real, left = scoring.score_shard, [2]

    def dies(*args):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(scoring, "score_shard", dies)
    assert command(ws) == 130
    monkeypatch.undo()
    made = []
    monkeypatch.setattr(scoring, "score_shard", lambda *a: (made.append(a[2]), real(*a)))
    assert command(ws, "--resume", "never") == 0
    assert len(made) == len(manifest(ws)["shards"]) > 2
    assert manifest(ws)["attempts"] == 1


def test_a_bundle_that_is_too_old_stops_or_warns(ws, monkeypatch, capsys):
    assert command(ws, "--score.max-bundle-age", "30") == 4
    err = capsys.readouterr().err
    assert "bundle_age is 2.027e+04, allowed is at most 30 (score.max_bundle_age)" in err
    assert "--checks.on-failure warn" in err
    assert not dates(ws)
    assert command(ws, "--score.max-bundle-age", "30", "--checks.on-failure", "warn") == 0
    assert "warning: bundle_age" in capsys.readouterr().out
    (found,) = (c for c in manifest(ws)["checks"] if c["check"] == "bundle_age")
    assert not found["ok"] and found["limit"] == 30
    assert manifest(ws)["limits"]["checks"]["on_failure"] == "warn"
    # limits decide whether rows are published, not what they are: it is the same run
    assert command(ws) == 0
    assert "is published already" in capsys.readouterr().out


@pytest.mark.usefixtures("sigint_stops")
@pytest.mark.parametrize("sent, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop_it_abandons_its_shard_and_keeps_the_others(ws, sent, code):
    flags = ["--config", str(ws / "ccf.toml"), "--score.shard-users", "20"]
    job = subprocess.Popen([sys.executable, str(STAND_IN), *flags], stderr=subprocess.PIPE)
    done = "ranked/_staging/*/*/shard-*.json"
    while len(list(ws.glob(done))) < 3 and job.poll() is None:
        signal.sigtimedwait([], 0.005)
    job.send_signal(sent)
    err = job.communicate(timeout=60)[1].decode()
    assert job.returncode == code and "Traceback" not in err, err
    assert not dates(ws)
    (run,) = (p for p in ws.glob("ranked/_staging/date=*/*"))
    left = sorted(p.name for p in run.rglob("*") if p.is_file())
    shards = [name for name in left if name.endswith(".parquet")]
    assert len(shards) >= 2
    assert {name for name in left if "tmp" in name} == set()  # nothing half written
    assert not (run.parent / "work").exists()
    kept = {p.name for p in (run / "output").iterdir()}
    assert command(ws, "--score.shard-users", "20") == 0
    after = manifest(ws)
    assert kept <= {shard["file"] for shard in after["shards"] if shard["attempt"] == 1}
