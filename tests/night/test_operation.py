"The log of lines of JSON, the file for a monitor, and the examples of how to run it every night."

import ast
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stand_in
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus_text

from ccf_batch import evaluate, ingest, runs, score, settings, train
from ccf_batch.base import atomic, console, eventlog
from ccf_batch.base.errors import CheckFailed, InputError, NothingToDo, Terminated
from ccf_batch.base.settings_file import load
from ccf_batch.evaluation import external_scores
from ccf_batch.night import prometheus, scoring

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
NIGHT = "2025-07-01"  # the day after the sample ends
STAND_IN = Path(stand_in.__file__)


@pytest.fixture(scope="module")
def people(sample, tmp_path_factory) -> Path:
    "The sample's workspace, its users called by names that nothing else is called by."
    ws = shutil.copytree(sample, tmp_path_factory.mktemp("people") / "w")
    for file in (ws / "lake/interactions").rglob("*.parquet"):
        duckdb.execute(
            f"""COPY (SELECT 'zq' || user_id || '@example.com' AS user_id, * EXCLUDE (user_id)
            FROM read_parquet('{file}') WHERE user_id <= 80) TO '{file}.new' (FORMAT parquet)"""  # noqa: S608
        )
        file.with_name(f"{file.name}.new").replace(file)
    with (ws / "ccf.toml").open("a") as f:
        f.write("\n[score]\nshard_users = 15\nthreads = 1\n")
        f.write("[candidates]\nfactors = 0\nlinear = 0\ntext = 0\n")
        f.write('[operation]\nlog = "log.jsonl"\nmetrics = "ccf_batch.prom"\n')
    return ws


@pytest.fixture
def ws(people, tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(stand_in, "SLEEP_S", 0)
    return shutil.copytree(people, tmp_path / "w")


def command(ws, *flags):
    return stand_in.main(["--config", str(ws / "ccf.toml"), "--show-users", "0", *flags])


def lines(ws):
    "Every line, which is JSON and holds no user's id."
    text = (ws / "log.jsonl").read_text()
    assert "zq" not in text and "@example" not in text and text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def numbers(ws):
    "The samples without labels, by name; whatever reads Prometheus's or OpenMetrics's format agrees."
    text = (ws / "ccf_batch.prom").read_text()
    assert "zq" not in text
    told = [
        {(s.name, *s.labels.values()): s.value for family in read(text) for s in family.samples}
        for read in (openmetrics, prometheus_text)
    ]
    assert told[0] == told[1] and told[0]
    return {
        name.removeprefix("ccf_batch_"): v for (name, *labels), v in told[0].items() if not labels
    }


# The log


def test_a_line_for_each_stage(ws):
    assert command(ws) == 0
    found = lines(ws)
    assert [line["stage"] for line in found] == [
        *("start", "checks", "preparing", "checks", "loading", "assembling", "scoring", "rules"),
        *("writing", "shards", "checks", "publishing", "end"),
    ]
    assert all(line["command"] == "score" and line["outcome"] == "ok" for line in found)
    assert len({line["pid"] for line in found}) == 1
    assert [line["ts"] for line in found] == sorted(line["ts"] for line in found)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}\+00:00", line["ts"]) for line in found)
    assert all(line["date"] == NIGHT for line in found[1:])
    manifest = json.loads((ws / f"ranked/date={NIGHT}/_manifest.json").read_bytes())
    assert all(line["run_id"] == manifest["run_id"] for line in found[2:])
    checked = [name for line in found for name in line.get("checks", ())]
    assert checked == [c["check"] for c in manifest["checks"] if c["value"] is not None]
    by_stage = {line["stage"]: line for line in found}
    assert by_stage["shards"]["counts"]["pairs"] == manifest["counts"]["pairs"]
    assert by_stage["shards"]["counts"]["shards"] == len(manifest["shards"])
    assert by_stage["preparing"]["counts"]["users"] == manifest["prepared"]["users"]
    assert by_stage["publishing"]["counts"]["rows"] == manifest["rows"]
    assert by_stage["end"]["exit_code"] == 0 and by_stage["end"]["seconds"] > 0
    # the run is not of another thing for being logged elsewhere
    assert "operation" not in manifest["settings"]
    assert command(ws, "--operation.log", str(ws / "other.jsonl")) == 0
    assert len(lines(ws)) == len(found) and (ws / "other.jsonl").exists()


def user(ws):
    "An id of the lake."
    (file, *_) = (ws / "lake/interactions").rglob("*.parquet")
    return duckdb.execute("SELECT min(user_id) FROM read_parquet($f)", {"f": str(file)}).fetchone()[
        0
    ]


@pytest.mark.parametrize(
    "raises, code, outcome, says",
    [
        (InputError("x.csv: row 3"), 2, "bad input", "x.csv: row 3"),
        (NothingToDo("nobody"), 3, "nothing to do", "nobody"),
        (CheckFailed("1 of 2 failed:\n  late"), 4, "check failed", "1 of 2 failed:"),
        (KeyError("USER"), 1, "bug", "KeyError at test_operation.py:"),
        (UnicodeDecodeError("utf-8", b"USER", 0, 1, "USER"), 1, "bug", "UnicodeDecodeError at"),
        (KeyboardInterrupt(), 130, "interrupted", "interrupted"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, BaseException) else "",
)
def test_how_it_ended(ws, monkeypatch, raises, code, outcome, says):
    if code == 1:
        raises = KeyError(user(ws)) if isinstance(raises, KeyError) else raises

    def fail(*_):
        raise raises

    monkeypatch.setattr(scoring, "score_shards", fail)
    if code == 1:
        with pytest.raises(type(raises)):
            command(ws)
    else:
        assert command(ws) == code
    *before, shards, end = lines(ws)
    assert [line["outcome"] for line in before] == ["ok"] * len(before)
    assert (shards["stage"], shards["outcome"]) == ("shards", "unfinished")
    assert (end["stage"], end["outcome"], end["exit_code"]) == ("end", outcome, code)
    assert end["error"].startswith(says) and end["date"] == NIGHT and end["run_id"]
    assert numbers(ws)["run_exit_code"] == code


def test_sigterm_among_the_shards(ws):
    flags = ["--config", str(ws / "ccf.toml"), "--show-users", "0"]
    job = subprocess.Popen([sys.executable, str(STAND_IN), *flags], stdout=subprocess.DEVNULL)
    while len(list(ws.glob("ranked/_staging/*/*/shard-*.json"))) < 2:
        assert job.poll() is None
        time.sleep(0.005)
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 143
    end = lines(ws)[-1]
    assert (end["outcome"], end["exit_code"], end["error"]) == ("terminated", 143, "terminated")
    stopped = {line["stage"]: line for line in lines(ws)}
    assert stopped["scoring"]["outcome"] == stopped["shards"]["outcome"] == "unfinished"
    assert stopped["shards"]["counts"]["shards"] >= 1
    assert numbers(ws)["run_exit_code"] == 143
    # the next attempt adds to the same file
    assert command(ws) == 0
    shards = next(line for line in reversed(lines(ws)) if line["stage"] == "shards")
    # the signal may come in the instant in which a shard is done, and not yet counted
    more = shards["counts"]["shards_before"] - stopped["shards"]["counts"]["shards"]
    assert more in (0, 1)


def test_each_date_says_its_own(ws, monkeypatch):
    real = scoring.score_shards

    def fails_on_the_30th(night, run, bar):
        if str(run.final).endswith("2025-06-30"):
            raise KeyError(user(ws))
        real(night, run, bar)

    monkeypatch.setattr(scoring, "score_shards", fails_on_the_30th)
    assert command(ws, "--dates", f"2025-06-29..{NIGHT}") == 1
    start, *found, end = lines(ws)
    assert "date" not in start and "date" not in end and end["exit_code"] == 1
    assert {line["date"] for line in found} == {"2025-06-29", "2025-06-30", NIGHT}
    assert len({line["run_id"] for line in found if "run_id" in line}) == 3
    dates = {line["date"]: line for line in found if line["stage"] == "date"}
    assert [dates[d]["outcome"] for d in sorted(dates)] == ["ok", "bug", "ok"]
    assert dates["2025-06-30"]["error"].startswith("KeyError at ")


@pytest.mark.parametrize(
    "ratings",
    [
        "userId,movieId,rating,timestamp\n" + "zq1@example.com,1,five,1\n" * 3,
        "zq1@example.com,1,5,1\nzq2@example.com,1,5,1\n",  # no header
        "zq1@example.com,zq1@example.com,5,1\n",
        "userId,movieId,rating,timestamp\n" + 'zq1@example.com,1,"5,1\n' * 3,
    ],
    ids=["no number", "no header", "one name twice", "open quotes"],
)
def test_what_ingest_rejects(ws, tmp_path, capsys, ratings):
    (tmp_path / "ratings.csv").write_text(ratings)
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,A,Drama\n")
    flags = ["--config", str(ws / "ccf.toml"), "--source", str(tmp_path)]
    assert console.main(ingest.IngestCommand, ingest.run, "ingest", argv=flags) == 2
    start, *_, end = lines(ws)
    assert start["command"] == "ingest" and "ratings" in capsys.readouterr().err
    assert end["error"] and end["exit_code"] == 2


@pytest.mark.parametrize(
    "scores",
    [
        "user_id,item_id,score\nzq1@example.com,1,0.5\nzq1@example.com,1,0.6\n",
        "user_id,item_id,score\nzq1@example.com,1,high\n",
        "zq1@example.com,1,0.5\n",
    ],
    ids=["two scores", "no number", "no header"],
)
def test_what_a_file_of_scores_has(tmp_path, scores):
    file = tmp_path / "scores.csv"
    file.write_text(scores)
    with pytest.raises(InputError, match=r"zq1|high") as e:
        external_scores.read(file, pa.array(["zq1@example.com"]), pa.array([1]))
    assert "zq" not in console.redacted_message(
        e.value
    ) and "scores.csv" in console.redacted_message(e.value)


def test_a_lake_whose_ids_are_no_text(ws, capsys):
    "DuckDB quotes what it cannot read."
    for file in (ws / "lake/interactions").rglob("*.parquet"):
        rows = duckdb.connect().sql(f"FROM '{file}'").arrow().read_all()
        bad = pa.array([u.as_py().encode() + b"\xff" for u in rows["user_id"]], pa.binary())
        pq.write_table(rows.set_column(0, "user_id", bad.view(pa.string())), file)
    assert command(ws, "--date", NIGHT) == 2
    assert "zq" in capsys.readouterr().err
    assert "cannot be read; write it again" in lines(ws)[-1]["error"]


def test_a_log_that_cannot_be_written(ws, capsys):
    assert command(ws, "--operation.log", "no/such/folder/log.jsonl") == 2
    assert "operation.log = " in capsys.readouterr().err
    assert not list(ws.glob("ranked/*"))
    # a disk that is full later is said, and stops no night
    assert command(ws, "--operation.log", "/dev/full") == 0
    assert "lost a line (" in capsys.readouterr().err


def test_a_program_listens_with_a_handler_of_its_own(ws, caplog):
    with caplog.at_level(logging.INFO, logger="ccf_batch"), eventlog.bound_fields(command="mine"):
        with eventlog.stage("reading") as counts:
            counts["rows"] = 3
    assert [r.stage["counts"] for r in caplog.records] == [{"rows": 3}]
    assert caplog.messages == ["reading: ok"]


# The numbers


def test_the_numbers_of_a_night(ws):
    before = time.time()
    assert command(ws) == 0
    manifest = json.loads((ws / f"ranked/date={NIGHT}/_manifest.json").read_bytes())
    told = numbers(ws)
    for name in ("users", "pairs", "cold_users"):
        assert told[name] == manifest["counts"][name]
    assert told["rows"] == manifest["rows"] and told["rejected_pairs"] == 0
    assert told["date_timestamp_seconds"] == told["newest_date_timestamp_seconds"] == 1751328000
    assert before < told["success_timestamp_seconds"] == told["run_timestamp_seconds"] < time.time()
    assert told["run_exit_code"] == told["failed_checks"] == 0
    assert told["peak_memory_bytes"] > 1e7 and told["wall_seconds"] > 0
    text = (ws / "ccf_batch.prom").read_text()
    for stage in manifest["seconds"]:
        assert f'ccf_batch_stage_seconds{{stage="{stage}"}}' in text
    # a node exporter refuses times in the file, and reads nothing that is left beside it
    assert not [s for family in openmetrics(text) for s in family.samples if s.timestamp]
    assert [p.name for p in ws.glob("*.prom*")] == ["ccf_batch.prom"]


def test_a_failed_check_is_told_with_its_numbers(ws):
    assert command(ws, "--score.max-bundle-age", "30") == 4
    _start, checks, end = lines(ws)
    assert (checks["outcome"], checks["failed"]) == ("failed", ["bundle_age"])
    assert checks["checks"]["bundle_age"] > 20_000 and "1 of 1 checks failed" in end["error"]
    assert numbers(ws)["failed_checks"] == 1 and "users" not in numbers(ws)
    told = prometheus.read(ws / "ccf_batch.prom")
    assert told["check_limit"] == [({"check": "bundle_age"}, 30)]
    flags = ["--score.max-bundle-age", "30", "--checks.on-failure", "warn"]
    assert command(ws, *flags) == 0
    assert numbers(ws)["failed_checks"] == 1 and numbers(ws)["users"] > 0
    told = prometheus.read(ws / "ccf_batch.prom")
    assert {labels["check"] for labels, _ in told["check_value"]} > {"bundle_age", "stale_days"}
    warned = [line for line in lines(ws) if line["outcome"] == "warned"]
    assert [line["failed"] for line in warned] == [["bundle_age"]]


def test_a_failed_night_keeps_what_the_last_good_one_told(ws):
    assert command(ws) == 0
    good = numbers(ws)
    assert command(ws, "--date", "2024-01-01") == 3
    told = numbers(ws)
    assert (
        told["run_exit_code"] == 3 and told["run_timestamp_seconds"] > good["run_timestamp_seconds"]
    )
    kept = set(prometheus.SUCCESS_METRICS) & set(good)
    assert len(kept) > 8 and all(told[name] == good[name] for name in kept)
    # one that finds its date published already is a good one
    assert command(ws) == 0
    assert numbers(ws)["success_timestamp_seconds"] > good["success_timestamp_seconds"]
    # neither a trial nor a dry run is a night
    now = (ws / "ccf_batch.prom").read_bytes()
    assert command(ws, "--limit-users", "5") == 0 and command(ws, "--dry-run") == 0
    assert (ws / "ccf_batch.prom").read_bytes() == now


def test_a_backfill_does_not_make_the_lists_look_old(ws):
    assert command(ws) == 0
    newest = numbers(ws)["newest_date_timestamp_seconds"]
    assert command(ws, "--dates", "2025-06-28..2025-06-29") == 0
    told = numbers(ws)
    assert told["newest_date_timestamp_seconds"] == newest
    assert told["date_timestamp_seconds"] == newest - 2 * 86400


def test_a_file_of_numbers_that_cannot_be_written(ws, capsys, monkeypatch):
    assert command(ws, "--operation.metrics", "no/such/folder/x.prom") == 2
    assert "operation.metrics = " in capsys.readouterr().err and not list(ws.glob("ranked/*"))
    assert command(ws, "--operation.metrics", "x.txt") == 2
    assert "must end in .prom" in capsys.readouterr().err
    (ws / "ccf_batch.prom").write_text("torn {")
    assert command(ws) == 0
    assert "cannot be read" in capsys.readouterr().err and numbers(ws)["run_exit_code"] == 0
    # whichever step fails: the night is done, and the file whole, as it was or as it should be
    before, steps = (ws / "ccf_batch.prom").read_bytes(), 0

    def fails_at(k):
        seen = []

        def watch(what, paths):
            if any(
                path.name.endswith((".prom", ".prom." + str(os.getpid()) + ".tmp"))
                for path in paths
            ):
                seen.append(what)
                if len(seen) == k:
                    raise OSError(28, "No space left on device")

        return watch

    for steps in range(1, 9):
        monkeypatch.setattr(atomic, "watcher", fails_at(steps))
        assert command(ws) == 0
        if "could not be written" not in capsys.readouterr().err:
            break
        now = (ws / "ccf_batch.prom").read_bytes()
        assert now == before or numbers(ws)["run_exit_code"] == 0
    assert 3 < steps < 8


# The examples

COMMANDS = {
    "ingest": ingest.IngestCommand,
    "train": train.TrainCommand,
    "score": score.ScoreCommand,
    "evaluate": evaluate.EvaluateCommand,
    "runs": runs.RunsCommand,
}
SERVICE, TIMER, CRON = (EXAMPLES / f"ccf-batch.{kind}" for kind in ("service", "timer", "cron"))
DAG = EXAMPLES / "airflow_dag.py"
PAGE = ROOT / "nbs/tutorials/nightly_operation.ipynb"


def dag_commands():
    "What the DAG's `bash_command`s are once Python and Airflow have filled them in."
    tree = ast.parse(DAG.read_text())
    names = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            exec(compile(ast.Module([node], []), str(DAG), "exec"), names)
    found = [
        eval(compile(ast.Expression(node.value), str(DAG), "eval"), names)  # noqa: S307
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "bash_command"
    ]
    assert found and all("{{ data_interval_end" in text for text in found)
    return [re.sub(r"\{\{.*?\}\}", "2026-07-01", text) for text in found]


def page_lines():
    "The shell lines of the tutorial."
    for cell in json.loads(PAGE.read_text())["cells"]:
        text = "".join(cell["source"])
        shell = [text] if text.startswith("%%bash") else re.findall(r"```sh\n(.*?)```", text, re.S)
        yield from "\n".join(shell).replace("\\\n", " ").splitlines()


def command_lines():
    "Each command of ours in the examples and in the tutorial: (where, module, flags)."
    texts = [(f.name, line) for f in (SERVICE, CRON) for line in f.read_text().splitlines()]
    texts += [(DAG.name, line) for line in dag_commands()]
    texts += [(PAGE.name, line) for line in page_lines()]
    for where, line in texts:
        if line.startswith("#"):
            continue
        for module, rest in re.findall(r"-m ccf_batch\.(\w+)([^|;&>]*)", line):
            yield where, module, shlex.split(rest.removesuffix("2"))


@pytest.mark.parametrize("where, module, flags", list(command_lines()), ids=str)
def test_a_command_line_is_one_that_we_take(where, module, flags, tmp_path):
    config, flags = console._config_flag(flags)
    assert load(COMMANDS[module], tmp_path / config, flags, missing_ok=True)
    with pytest.raises(settings.SettingsError):  # it would be said if we did not
        load(COMMANDS[module], None, [*flags, "--no-such-flag", "1"])


def test_each_example_has_command_lines():
    assert {where for where, *_ in command_lines()} == {f.name for f in (SERVICE, CRON, DAG, PAGE)}


def test_the_tutorial_shows_the_examples_as_they_are():
    "The documentation is built from saved outputs: run the notebook after changing a file."
    cells = [cell for cell in json.loads(PAGE.read_text())["cells"] if cell["cell_type"] == "code"]
    outputs = [output.get("data", {}) for cell in cells for output in cell["outputs"]]
    shown = "\n".join("".join(data.get("text/markdown", "")) for data in outputs)
    for file in (SERVICE, TIMER, CRON, DAG, EXAMPLES / "ccf-batch-alerts.yml"):
        assert file.read_text().strip() in shown, file


def test_today_is_of_the_zone(monkeypatch):
    import datetime as dt

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return dt.datetime(2026, 6, 30, 22, 30, tzinfo=dt.UTC).astimezone(tz)

    monkeypatch.setattr(score.dt, "datetime", Clock)
    for zone, date in (("UTC", "2026-06-30"), ("Europe/Paris", "2026-07-01")):
        s = load(score.ScoreCommand, None, ["--date", "today", "--domain.zone", zone])
        assert s.date == dt.date.fromisoformat(date)
    with pytest.raises(settings.SettingsError, match="--date = 'yesterday'"):
        load(score.ScoreCommand, None, ["--date", "yesterday"])


def test_the_units_are_what_systemd_takes(tmp_path):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    for unit in (SERVICE, TIMER):  # verify looks for the program
        text = unit.read_text().replace("/opt/ccf/.venv/bin/python", sys.executable)
        (tmp_path / unit.name).write_text(text)
    units = [str(tmp_path / unit.name) for unit in (SERVICE, TIMER)]
    found = subprocess.run([tool, "verify", "--man=no", *units], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    # it would say so
    broken = SERVICE.read_text().replace("TimeoutStopSec", "TimeoutStopSeconds")
    (tmp_path / SERVICE.name).write_text(
        broken.replace("/opt/ccf/.venv/bin/python", sys.executable)
    )
    found = subprocess.run([tool, "verify", "--man=no", *units], capture_output=True, text=True)
    assert "TimeoutStopSeconds" in found.stderr
    when = re.search(r"OnCalendar=(.*)", TIMER.read_text())[1]
    nights = subprocess.run(
        # the last night of summer time, and the first of winter time
        [tool, "calendar", "--base-time=2026-10-24 12:00:00 UTC", "--iterations=2", when],
        capture_output=True,
        text=True,
        env=os.environ | {"TZ": "UTC"},
        check=True,
    ).stdout
    assert re.findall(r"2026-10-2\d \d\d:\d\d", nights.split("in UTC", 1)[-1] or nights)


def test_the_units_fit_how_the_command_ends():
    said = dict(
        line.split("=", 1) for line in SERVICE.read_text().splitlines() if re.match(r"\w+=", line)
    )
    assert said["KillSignal"] == "SIGTERM"
    assert int(said["SuccessExitStatus"]) == console.exit_code(Terminated())
    mended_by_people = {InputError(""), NothingToDo(""), CheckFailed("")}
    codes = {console.exit_code(e) for e in mended_by_people}
    assert {int(code) for code in said["RestartPreventExitStatus"].split()} == codes
    # only known to work where `Restart` has an effect, and with a bound
    assert said["Restart"] == "on-failure" and int(said["StartLimitBurst"]) > 1
    # of a oneshot service, RuntimeMaxSec has no effect
    assert said["Type"] == "oneshot" and "TimeoutStartSec" in said and "RuntimeMaxSec" not in said


def test_alerts_are_on_numbers_that_there_are():
    import yaml

    (group,) = yaml.safe_load((EXAMPLES / "ccf-batch-alerts.yml").read_text())["groups"]
    there = {
        f"ccf_batch_{name}"
        for name in prometheus.RUN_METRICS | prometheus.CHECK_METRICS | prometheus.SUCCESS_METRICS
    }
    for rule in group["rules"]:
        named = set(re.findall(r"ccf_batch_\w+", rule["expr"]))
        assert named and named <= there, rule


# The tutorial on the output


def test_the_queries_of_the_tutorial(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(stand_in, "SLEEP_S", 0)
    ws = shutil.copytree(sample, tmp_path / "w")
    for date in ("2025-06-24", NIGHT):
        assert command(ws, "--date", date) == 0
    monkeypatch.chdir(ws)
    nb = json.loads((ROOT / "nbs/tutorials/querying_the_output.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in nb["cells"] if cell["cell_type"] == "code"]
    calls = [
        node
        for text in code
        if not text.startswith("%%")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "sql"
    ]
    queries = [ast.literal_eval(call.args[0]) for call in calls]
    con = duckdb.connect()
    answers = [con.sql(query) for query in queries]
    assert len(answers) >= 8
    for query, answer in zip(queries, answers, strict=True):
        assert answer is None or answer.fetchall(), query
    assert Path("top5.csv").read_text().startswith("user_id,item_id,rank\n1,")
