"`score` killed with SIGKILL at random moments: what was published stays, and a rerun gives the same bytes."

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import kills
import pytest
import stand_in
from kills import read

from ccf_batch.settings import GENERATOR_NAMES


def kill_many(command: str, prepared: Path, times: int, *flags: str) -> dict[str, int]:
    "Kill it in a process of its own, which forks; what came of it."
    argv = [sys.executable, kills.__file__, command, str(prepared), str(times), *flags]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["killed"] == times
    return found


# what is killed is the night; its lists are quicker from few generators
SWITCHED_OFF = [name for name in GENERATOR_NAMES if name not in ("popular", "covisited")]


@pytest.fixture
def prepared(sample, tmp_path) -> Path:
    "A workspace with the embedded sample, cut into a dozen shards."
    workspace = shutil.copytree(sample, tmp_path / "prepared")
    with (workspace / "ccf.toml").open("a") as f:
        f.write("\n[score]\nshard_users = 50\nthreads = 1\n")
        f.write("[candidates]\n" + "".join(f"{name} = 0\n" for name in SWITCHED_OFF))
    return workspace


def test_killed_among_its_shards(prepared):
    assert kill_many("stand-in", prepared, 1, "--after-shards")["resumed"] == 1


@pytest.mark.slow
def test_killed_ten_times(prepared):
    kill_many("stand-in", prepared, 10)


@pytest.mark.slow
def test_the_real_command_killed_ten_times(prepared):
    train = [sys.executable, "-m", "ccf_batch.train", "--config", str(prepared / "ccf.toml")]
    subprocess.run([*train, "--train.max-steps", "20"], check=True, capture_output=True)
    kill_many("score", prepared, 10)


def test_a_reader_during_a_replacement_sees_one_run_or_the_other(prepared):
    command = [sys.executable, stand_in.__file__, "--config", str(prepared / "ccf.toml")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    first = read(prepared)
    seen, errors = {first[2][0]: first}, 0
    new = [*command, "--overwrite", "--top-k", "7"]
    job = subprocess.Popen(new, stdout=subprocess.DEVNULL)
    while job.poll() is None:
        try:
            rows, users, runs = read(prepared)
        except duckdb.IOException:
            errors += 1  # a file that went while it was being read; a retry clears it
            continue
        assert len(runs) == 1, "a mixture of two runs"
        assert seen.setdefault(runs[0], (rows, users, runs)) == (rows, users, runs)
        time.sleep(0.005)
    assert job.wait() == 0
    rows, users, runs = read(prepared)
    assert seen.setdefault(runs[0], (rows, users, runs)) == (rows, users, runs)
    assert len(seen) == 2 and errors <= 2
