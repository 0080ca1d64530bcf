"A bundle that keeps no language model: its nights are the ranker's, and load no torch."

import itertools
import json
import subprocess
import sys

import duckdb
import pytest
from lakes import write_lake
from test_future import CONFIG, ITEMS, NIGHT, PAST

COMMAND = """
import sys
from ccf_batch.__main__ import main
code = main(sys.argv[1:])
assert not {"torch", "transformers", "vllm"} & set(sys.modules), "loaded"
raise SystemExit(code)
"""


def run(command, workspace, *flags):
    argv = [sys.executable, "-c", COMMAND, command, "--config", str(workspace / "ccf.toml")]
    done = subprocess.run(
        [*argv, "--date", str(NIGHT), *flags], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def score(workspace, *flags):
    return run("score", workspace, *flags)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    root = tmp_path_factory.mktemp("ranker")
    write_lake(root, ITEMS, PAST)
    (root / "ccf.toml").write_text(CONFIG.replace('keep = "always"', 'keep = "never"'))
    run("train", root)  # which loads no torch either
    return root


def test_a_night_loads_no_torch_and_publishes_the_rankers_order(workspace):
    out = score(workspace)
    assert "the bundle keeps no language model" in out and "tokens" not in out
    (bundle,) = workspace.glob("bundles/2*/bundle.json")
    about = json.loads(bundle.read_text())
    assert about["model"] is None and not list(bundle.parent.glob("*.safetensors"))
    rows = duckdb.execute(
        "SELECT user_id, rank, margin, score FROM read_parquet($files) ORDER BY ALL",
        {"files": f"{workspace}/ranked/date={NIGHT}/*.parquet"},
    ).fetchall()
    assert len({user for user, *_ in rows}) > 30
    for (user, rank, margin, _), (other, following, less, _) in itertools.pairwise(rows):
        assert following == 1 or (other == user and following == rank + 1 and less <= margin)
    assert (about["first_stage"]["calibration"] is None) == all(s is None for *_, s in rows)


def test_a_dry_run_and_a_trial(workspace):
    assert "nothing was written" in score(workspace, "--dry-run")
    assert "Trial of 5 users" in score(workspace, "--limit-users", "5")
