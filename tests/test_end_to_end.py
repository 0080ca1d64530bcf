"The whole line by its commands, as a user types them: ingest, train, score, evaluate, query."

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from tiny import FEW_CANDIDATES

ROOT = Path(__file__).resolve().parents[1]


def ccf(command, *flags, code=0, **env):
    "Run one entry point; its output, both streams."
    done = subprocess.run(
        [sys.executable, "-m", f"ccf_batch.{command}", *map(str, flags)],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        check=False,
    )
    assert done.returncode == code, f"{shlex.join(done.args)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def night(tmp_path_factory):
    "A workspace after its first night on the synthetic sample, and what the commands printed."
    work = tmp_path_factory.mktemp("night")
    config = ("--config", work / "ccf.toml")
    said = {
        "ingest": ccf("ingest", "--sample", *config),
        "train": ccf("train", *config, "--model.keep", "always", "--train.epochs", 1),
        "score": ccf("score", *config),
    }
    return work, said


def ask(query, **parameters):
    "All rows of a query."
    return duckdb.connect().execute(query, parameters or None).fetchall()


def test_every_user_has_a_full_ranked_list(night):
    work, _ = night
    rows = f"{work}/ranked/date=*/*.parquet"
    (bundle,) = work.glob("bundles/2*/bundle.json")
    scale, bias = json.loads(bundle.read_text())["first_stage"]["calibration"]
    ((users, lists, worst),) = ask(
        """
        SELECT count(DISTINCT user_id), count(*) FILTER (rank = 1),
               max(abs(score - 1 / (1 + exp(-($scale * margin::DOUBLE + $bias)))))
        FROM read_parquet($rows) WHERE reason = 'scored'
        """,
        rows=rows,
        scale=scale,
        bias=bias,
    )
    assert users == lists > 100 and scale > 0
    assert worst < 1e-6
    uneven = """
        SELECT user_id FROM read_parquet($rows) GROUP BY user_id
        HAVING max(rank) != count(*) OR count(DISTINCT item_id) != count(*) OR count(*) > 20
    """
    assert not ask(uneven, rows=rows)
    falling = """
        SELECT margin, lead(margin) OVER (PARTITION BY user_id ORDER BY rank) AS following
        FROM read_parquet($rows) QUALIFY following > margin
    """
    assert not ask(falling, rows=rows)


def test_nothing_seen_is_published(night):
    work, _ = night
    again = "FROM read_parquet($ranked) r JOIN read_parquet($seen) s USING (user_id, item_id)"
    places = {"ranked": "ranked/date=*/*.parquet", "seen": "lake/interactions/date=*/*.parquet"}
    assert not ask(again, **{name: f"{work}/{glob}" for name, glob in places.items()})


def test_the_printed_query_runs(night):
    _, said = night
    (query,) = re.findall(r"^ +(FROM read_parquet.+;)$", said["score"], flags=re.MULTILINE)
    assert len(ask(query)) == 20


def test_the_manifest_says_where_it_comes_from(night):
    work, _ = night
    (path,) = work.glob("ranked/date=*/_manifest.json")
    manifest = json.loads(path.read_text())
    for word in ("inputs", "bundle", "settings", "versions", "run_id", "seconds"):
        assert manifest[word], word


def test_a_second_run_changes_nothing(night):
    work, _ = night
    before = {p: p.read_bytes() for p in work.glob("ranked/date=*/*.parquet")}
    ccf("score", "--config", work / "ccf.toml")
    assert {p: p.read_bytes() for p in work.glob("ranked/date=*/*.parquet")} == before


def test_evaluate_after_an_earlier_training(night):
    work, _ = night
    config = ("--config", work / "ccf.toml")
    out = ccf("evaluate", *config, code=3)
    assert "train" in out and "--date" in out
    ((earlier,),) = ask(
        "SELECT (max(event_ts) - INTERVAL 14 DAY)::DATE::VARCHAR FROM read_parquet($events)",
        events=f"{work}/lake/interactions/date=*/*.parquet",
    )
    on_rows = ("--train.loss", "pointwise", "--train.max-examples", 2000)
    ccf("train", *config, "--date", earlier, *on_rows, "--train.epochs", 1, *FEW_CANDIDATES)
    newest = max((work / "bundles").iterdir(), key=lambda p: p.stat().st_mtime)
    out = ccf("evaluate", *config, "--bundle", newest)
    for method in ("ItemMean", "Item+UserMean", "BiasContent"):
        assert method in out


def test_an_unknown_flag_is_explained(night):
    work, _ = night
    out = ccf("score", "--config", work / "ccf.toml", "--top_k", 3, code=2)
    assert "did you mean --top-k?" in out
    assert "Traceback" not in out


@pytest.mark.parametrize("command", ["ingest", "train", "score", "evaluate"])
def test_help(command):
    out = ccf(command, "--help")
    assert "--config" in out and f"python -m ccf_batch.{command}" in out


@pytest.mark.slow
@pytest.mark.shared
def test_a_night_of_ml_100k(tmp_path, shared):
    config = ("--config", tmp_path / "ccf.toml")
    ccf("ingest", "--source", shared / "ml-100k", *config)
    ccf("train", *config, "--train.epochs", 1)
    ccf("score", *config, "--score.rerank", 20, "--top-k", 5)
    ((users, rows),) = ask(
        "SELECT count(DISTINCT user_id), count(*) FROM read_parquet($ranked)",
        ranked=f"{tmp_path}/ranked/date=*/*.parquet",
    )
    assert users > 900 and rows == 5 * users


@pytest.mark.slow
def test_a_real_pretrained_model(tmp_path):
    found = sorted((ROOT / "models").rglob("*.gguf"))
    if not found:
        pytest.skip("needs SmolLM2-135M in models/: run `make lm-smollm2`")
    config = ("--config", tmp_path / "ccf.toml")
    base = ("--model.base", found[0])
    ccf("ingest", "--sample", *config)
    out = ccf("train", *config, *base, "--train.max-steps", 2, "--model.keep", "always")
    assert "float32" in out or "bfloat16" in out
    out = ccf("score", *config, *base, "--limit-users", 3, "--score.rerank", 5, "--top-k", 5)
    assert "3" in out
    assert not (tmp_path / "ranked").exists() or not list(tmp_path.glob("ranked/date=*"))
