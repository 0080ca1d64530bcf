"""Kill a command with SIGKILL at many moments, look at what is published, and run it again.

`python tests/kills.py COMMAND WORKSPACE KILLS` publishes a date of WORKSPACE, replaces it from other
settings, and kills that; COMMAND is `score` or `stand-in`. With `--after-shards` a kill comes when some
shards are done, else anywhere in the time that the command takes. It prints as JSON how many reruns went
on from finished shards. Processes are forked from one that has loaded all modules, so that a kill meets
the command's own work and not its imports.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from faults import child, load_everything, start

DATE = "2025-07-01"  # the day after the sample ends


def folder_bytes(workspace: Path) -> dict[str, bytes]:
    "Every file of the published date, by name."
    return {p.name: p.read_bytes() for p in (workspace / "ranked" / f"date={DATE}").iterdir()}


def rows_of(files: dict[str, bytes]) -> dict[str, bytes]:
    "The Parquet files: the manifest also holds timings, which differ between runs."
    return {name: data for name, data in files.items() if name.endswith(".parquet")}


def read(workspace: Path) -> tuple:
    "As a reader does: rows, users, and the runs that they are of."
    import duckdb

    return duckdb.execute(
        "SELECT count(*), count(DISTINCT user_id), list(DISTINCT run_id) FROM read_parquet($files)",
        {"files": f"{workspace}/ranked/date=*/*.parquet"},
    ).fetchone()


def is_of_one_run(workspace: Path) -> None:
    assert len(read(workspace)[2]) == 1


class Command:
    "Command that runs in a fork of this process."

    def __init__(self, name: str):
        import stand_in

        from ccf_batch import score

        self.main = {"score": score.command, "stand-in": stand_in.main}[name]

    def run(self, workspace: Path, *flags: str) -> None:
        code = self.main(["--config", str(workspace / "ccf.toml"), "--show-users", "0", *flags])
        if code:
            raise SystemExit(code)

    def start(self, workspace: Path, *flags: str) -> int:
        "Begin it; the id of its process."
        return start(lambda: self.run(workspace, *flags))

    def finish(self, workspace: Path, *flags: str) -> float:
        "Run it to its end; its wall time."
        began = time.perf_counter()
        assert child(lambda: self.run(workspace, *flags)) == 0
        return time.perf_counter() - began


def has_ended(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def kill_many(command: Command, prepared: Path, kills: int, after_shards: bool) -> dict[str, int]:
    "Publish a date, then replace it from other settings, and kill that at `kills` moments."
    dice = random.Random(8)
    new = ["--overwrite", "--top-k", "7"]
    command.finish(prepared)
    before = folder_bytes(prepared)
    whole = shutil.copytree(prepared, prepared.with_name("whole"))
    took = command.finish(whole, *new)
    after = folder_bytes(whole)
    assert rows_of(after) != rows_of(before)
    killed = resumed = replaced = 0
    while killed < kills:
        workspace = shutil.copytree(prepared, prepared.with_name(str(killed)))
        job = command.start(workspace, *new)
        ended = False
        if after_shards:
            shards = dice.randint(1, 9)
            done = "ranked/_staging/*/*/shard-*.json"
            while len(list(workspace.glob(done))) < shards and not ended:
                time.sleep(0.005)
                ended = has_ended(job)
        else:
            # one kill in each tenth of the time that it takes, anywhere in it
            time.sleep(took * (killed + dice.random()) / kills)
        if ended or has_ended(job):  # the machine is quicker now than when `took` was measured
            took *= 0.8
            shutil.rmtree(workspace)
            continue
        killed += 1
        os.kill(job, signal.SIGKILL)
        os.waitpid(job, 0)
        now = folder_bytes(workspace)
        if now != before:  # the kill came after the swap
            replaced += 1
            assert rows_of(now) == rows_of(after)
        assert child(lambda workspace=workspace: is_of_one_run(workspace), say=True) == 0
        command.finish(workspace, *new)
        assert rows_of(folder_bytes(workspace)) == rows_of(after)
        manifest = json.loads(folder_bytes(workspace)["_manifest.json"])
        resumed += any(shard["attempt"] < manifest["attempts"] for shard in manifest["shards"])
        shutil.rmtree(workspace)
    return {"killed": killed, "resumed": resumed, "replaced": replaced}


def main(argv: list[str]) -> int:
    load_everything()
    name, workspace, kills, *flags = argv
    found = kill_many(Command(name), Path(workspace), int(kills), "--after-shards" in flags)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
