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

HERE = Path(__file__).parent
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


class Job:
    "The command in a process of its own."

    def __init__(self, command: list[str], workspace: Path, *flags: str):
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        config = ["--config", str(workspace / "ccf.toml"), "--date", DATE, "--show-users", "0"]
        self.process = subprocess.Popen(
            [*command, *config, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            text=True,
        )

    def finish(self) -> str:
        out, _ = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, out
        return out

    def kill_after(self, seconds: float) -> bool:
        "True where it was alive until then."
        try:
            self.process.communicate(timeout=seconds)
            return False
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            return True


def kill_many(
    command: list[str], prepared: Path, tmp_path: Path, kills: int, new: list[str]
) -> None:
    "Publish a date, then replace it from other settings, and kill that at `kills` moments."
    dice = random.Random(8)
    Job(command, prepared).finish()
    before = folder_bytes(prepared)
    whole = tmp_path / "whole"
    shutil.copytree(prepared, whole)
    start = time.perf_counter()
    Job(command, whole, "--overwrite", *new).finish()
    took = time.perf_counter() - start
    after = folder_bytes(whole)
    assert rows_of(after) != rows_of(before)
    killed = resumed = 0
    for k in range(kills):
        workspace = tmp_path / str(k)
        shutil.copytree(prepared, workspace)
        # one kill in each tenth (or third, …) of the time that it takes, wherever in it
        moment = took * (k + dice.random()) / kills
        killed += Job(command, workspace, "--overwrite", *new).kill_after(moment)
        now = folder_bytes(workspace)
        if now != before:  # the kill came after the swap
            assert rows_of(now) == rows_of(after)
        assert len(read(workspace)[2]) == 1
        Job(command, workspace, "--overwrite", *new).finish()
        assert rows_of(folder_bytes(workspace)) == rows_of(after)
        manifest = json.loads(folder_bytes(workspace)["_manifest.json"])
        resumed += any(shard["attempt"] < manifest["attempts"] for shard in manifest["shards"])
        shutil.rmtree(workspace)
    print(f"{killed} of {kills} were killed alive, {resumed} went on from finished shards")
    assert killed >= kills - 1 and resumed >= 1


def run(*args: str) -> None:
    subprocess.run([sys.executable, "-m", *args], check=True, capture_output=True, text=True)


@pytest.fixture
def sample(tmp_path) -> Path:
    "A workspace with the embedded sample, cut into many shards."
    workspace = tmp_path / "prepared"
    run("ccf_batch.ingest", "--sample", "--config", str(workspace / "ccf.toml"))
    with (workspace / "ccf.toml").open("a") as f:
        f.write("\n[score]\nshard_users = 50\nthreads = 1\n")
    return workspace


def test_killed_three_times(sample, tmp_path):
    kill_many([sys.executable, str(HERE / "stand_in.py")], sample, tmp_path, 3, ["--top-k", "7"])


def test_a_reader_during_a_replacement_sees_one_run_or_the_other(sample):
    command = [sys.executable, str(HERE / "stand_in.py")]
    Job(command, sample).finish()
    first = read(sample)
    seen, errors = {first[2][0]: first}, 0
    for k in range(7, 10):
        job = Job(command, sample, "--overwrite", "--top-k", str(k))
        while job.process.poll() is None:
            try:
                rows, users, runs = read(sample)
            except duckdb.IOException:
                errors += 1  # a file that went while it was being read; a retry clears it
                continue
            assert len(runs) == 1, "a mixture of two runs"
            assert seen.setdefault(runs[0], (rows, users, runs)) == (rows, users, runs)
        job.finish()
        rows, users, runs = read(sample)
        assert seen.setdefault(runs[0], (rows, users, runs)) == (rows, users, runs)
    assert len(seen) == 4 and errors <= 6


@pytest.mark.slow
def test_the_real_command_killed_ten_times(sample, tmp_path):
    run(
        "ccf_batch.train",
        "--config",
        str(sample / "ccf.toml"),
        "--date",
        DATE,
        "--train.max-steps",
        "20",
    )
    kill_many([sys.executable, "-m", "ccf_batch.score"], sample, tmp_path, 10, ["--top-k", "7"])
