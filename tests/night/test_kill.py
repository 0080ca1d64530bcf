"`score` killed with SIGKILL at random moments: what was published stays, and a rerun gives the same bytes."

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

DATE = "2025-07-01"  # the day after the sample ends


def folder_bytes(workspace: Path) -> dict[str, bytes]:
    "Every file of the published date, by name."
    return {p.name: p.read_bytes() for p in (workspace / "ranked" / f"date={DATE}").iterdir()}


def rows_of(files: dict[str, bytes]) -> dict[str, bytes]:
    "The Parquet files: the manifest also holds timings, which differ between runs."
    return {name: data for name, data in files.items() if name.endswith(".parquet")}


def read(workspace: Path) -> tuple:
    "As a reader does: rows, users, and the runs that they are of."
    return duckdb.execute(
        "SELECT count(*), count(DISTINCT user_id), list(DISTINCT run_id) FROM read_parquet($files)",
        {"files": f"{workspace}/ranked/date=*/*.parquet"},
    ).fetchone()


def start(command: list[str], workspace: Path, *flags: str) -> subprocess.Popen:
    "The command in a process of its own."
    config = ["--config", str(workspace / "ccf.toml"), "--show-users", "0"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, *config, *flags], stdout=subprocess.DEVNULL, env=env)


def finish(command: list[str], workspace: Path, *flags: str) -> float:
    "Run it to its end; its wall time."
    began = time.perf_counter()
    assert start(command, workspace, *flags).wait(600) == 0
    return time.perf_counter() - began


def kill_many(command: list[str], prepared: Path, tmp_path: Path, kills: int, after_shards=False):
    "Publish a date, then replace it from other settings, and kill that at `kills` moments."
    dice = random.Random(8)
    new = ["--overwrite", "--top-k", "7"]
    finish(command, prepared)
    before = folder_bytes(prepared)
    whole = shutil.copytree(prepared, tmp_path / "whole")
    took = finish(command, whole, *new)
    after = folder_bytes(whole)
    assert rows_of(after) != rows_of(before)
    killed = resumed = 0
    while killed < kills:
        workspace = shutil.copytree(prepared, tmp_path / str(killed))
        job = start(command, workspace, *new)
        if after_shards:
            shards = dice.randint(1, 9)
            done = "ranked/_staging/*/*/shard-*.json"
            while len(list(workspace.glob(done))) < shards and job.poll() is None:
                time.sleep(0.005)
        else:
            # one kill in each tenth of the time that it takes, anywhere in it
            time.sleep(took * (killed + dice.random()) / kills)
        if job.poll() is not None:  # the machine is quicker now than when `took` was measured
            took *= 0.8
            shutil.rmtree(workspace)
            continue
        killed += 1
        job.kill()
        job.wait()
        now = folder_bytes(workspace)
        if now != before:  # the kill came after the swap
            assert rows_of(now) == rows_of(after)
        assert len(read(workspace)[2]) == 1
        finish(command, workspace, *new)
        assert rows_of(folder_bytes(workspace)) == rows_of(after)
        manifest = json.loads(folder_bytes(workspace)["_manifest.json"])
        resumed += any(shard["attempt"] < manifest["attempts"] for shard in manifest["shards"])
        shutil.rmtree(workspace)
    print(f"killed {killed} times; {resumed} reruns went on from finished shards")
    assert resumed >= 1 or not after_shards


@pytest.fixture
def prepared(sample, tmp_path) -> Path:
    "A workspace with the embedded sample, cut into a dozen shards."
    workspace = shutil.copytree(sample, tmp_path / "prepared")
    with (workspace / "ccf.toml").open("a") as f:
        f.write("\n[score]\nshard_users = 50\nthreads = 1\n")
    return workspace


STAND_IN = [sys.executable, str(Path(__file__).parents[1] / "stand_in.py")]


def test_killed_among_its_shards(prepared, tmp_path):
    kill_many(STAND_IN, prepared, tmp_path, kills=1, after_shards=True)


@pytest.mark.slow
def test_killed_ten_times(prepared, tmp_path):
    kill_many(STAND_IN, prepared, tmp_path, kills=10)


@pytest.mark.slow
def test_the_real_command_killed_ten_times(prepared, tmp_path):
    train = [sys.executable, "-m", "ccf_batch.train", "--config", str(prepared / "ccf.toml")]
    subprocess.run([*train, "--train.max-steps", "20"], check=True, capture_output=True)
    kill_many([sys.executable, "-m", "ccf_batch.score"], prepared, tmp_path, kills=10)


def test_a_reader_during_a_replacement_sees_one_run_or_the_other(prepared):
    finish(STAND_IN, prepared)
    first = read(prepared)
    seen, errors = {first[2][0]: first}, 0
    job = start(STAND_IN, prepared, "--overwrite", "--top-k", "7")
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
