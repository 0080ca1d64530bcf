"""What a night can meet: no room, no right to write, broken or changing input, a clock set back, a second run.

Each time: one line that names the file, the right exit code, the earlier output as it was, and the same
command afterwards gives the bytes of an undisturbed run.
"""

import datetime as dt
import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import pyarrow.parquet as pq
import pytest
import stand_in
from tiny import CONFIG, write_workspace

from ccf_batch import ingest, train
from ccf_batch.base import console
from ccf_batch.base.errors import InputError
from ccf_batch.base.settings_file import load
from ccf_batch.data import assemble
from ccf_batch.night import publish, retention, scoring
from ccf_batch.night.run import PATIENCE_S, locked

DATE, OTHER = "2026-03-02", "2026-03-01"
EXTRA = """
shard_users = 8
memory_limit = "500MB"
rerank = 8
[candidates]
factors = 0
linear = 0
text = 0
[checks]
on_failure = "warn"
"""
NEW = ["--date", DATE, "--top-k", "3", "--overwrite"]
ITEMS = "lake/items/items.parquet"


def command(ws, *flags):
    return stand_in.main(["--config", str(ws / "ccf.toml"), "--show-users", "0", *flags])


def seen(ws):
    "What readers find, by name."
    return {str(p.relative_to(ws)): p.read_bytes() for p in ws.glob("ranked/date=*/*.parquet")}


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    "A workspace with a published date, and what an undisturbed replacement makes of it."
    top = tmp_path_factory.mktemp("nights")
    stand_in.SLEEP_S, sleep_s = 0, stand_in.SLEEP_S
    (top / "old").mkdir()
    write_workspace(top / "old", CONFIG + EXTRA, users=40, items=30, n=600)
    assert command(top / "old", "--date", DATE) == 0
    whole = shutil.copytree(top / "old", top / "whole")
    assert command(whole, *NEW) == 0
    assert seen(whole) != seen(top / "old")
    yield top / "old", seen(whole)
    stand_in.SLEEP_S = sleep_s


@pytest.fixture
def ws(nights, tmp_path, monkeypatch):
    monkeypatch.setattr(stand_in, "SLEEP_S", 0)
    return shutil.copytree(nights[0], tmp_path / "w")


@pytest.fixture
def after(nights):
    return nights[1]


def refused(capsys, ws, before, *words):
    "It ended with one line that has these words, and readers see what they saw."
    err = capsys.readouterr().err
    last = err.strip().splitlines()[-1]
    assert "Traceback" not in err
    for word in words:
        assert word in last, last
    assert seen(ws) == before
    return last


@pytest.fixture
def mount():
    "Mount something for the time of a test; skips where that is not permitted."
    places = []

    def mounted(*args):
        if not shutil.which("mount"):
            pytest.skip("there is no mount command here")
        done = subprocess.run(["mount", *map(str, args)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        if "remount" not in str(args[1]):
            places.append(args[-1])

    yield mounted
    gc.collect()  # connections that a failed run has left to its traceback
    for place in reversed(places):
        subprocess.run(["umount", "--lazy", place], check=True)


# Room


def leave(folder, free):
    "Fill a file system up to so many bytes."
    ballast = folder / "ballast"
    ballast.unlink(missing_ok=True)
    gc.collect()
    stat = os.statvfs(folder)
    with ballast.open("wb") as f:
        if (size := stat.f_bavail * stat.f_frsize - free) > 0:
            os.posix_fallocate(f.fileno(), 0, size)


def test_a_disk_that_is_full_until_it_is_not(ws, after, mount, tmp_path, capsys):
    small = tmp_path / "small"
    small.mkdir()
    mount("-t", "tmpfs", "-o", "size=32m", "tmpfs", small)
    here = shutil.copytree(ws, small / "w")
    before, free, failed = seen(here), 0, []
    while True:
        leave(small, free)
        code = command(here, *NEW)
        if code == 0:
            break
        assert code == 2, free
        failed.append(refused(capsys, here, before, str(small), "the disk is full", "untouched"))
        free = max(4096, free * 2)
        assert free < 32 << 20
    assert len(failed) >= 5  # at several places of a run
    assert seen(here) == after


def test_no_more_files(ws, after, mount, tmp_path, capsys):
    small = tmp_path / "small"
    small.mkdir()
    mount("-t", "tmpfs", "-o", "nr_inodes=200", "tmpfs", small)
    here = shutil.copytree(ws, small / "w")
    before = seen(here)
    stat = os.statvfs(small)
    for n in range(stat.f_favail - 3):
        (small / str(n)).touch()
    assert command(here, *NEW) == 2
    refused(capsys, here, before, "the disk is full", "untouched")
    for n in range(stat.f_favail - 3):
        (small / str(n)).unlink()
    assert command(here, *NEW) == 0 and seen(here) == after


def test_no_room_for_a_lake(ws, mount, tmp_path, capsys):
    small = tmp_path / "small"
    small.mkdir()
    mount("-t", "tmpfs", "-o", "size=32m", "tmpfs", small)
    here = shutil.copytree(ws, small / "w")
    lake = {p: p.read_bytes() for p in here.glob("lake/*/**/*.parquet")}
    flags = ["--sample", "--config", str(here / "ccf.toml"), "--domain.liked-above", "3"]
    for free in (0, 100 << 10, 1 << 20):
        leave(small, free)
        assert console.main(ingest.IngestCommand, ingest.run, "ingest", argv=flags) == 2
        refused(capsys, here, seen(here), str(small), "the disk is full")
        assert {p: p.read_bytes() for p in here.glob("lake/*/**/*.parquet")} == lake


# Rights


def test_a_read_only_folder(ws, after, mount, capsys):
    before, ranked = seen(ws), ws / "ranked"
    mount("--bind", ranked, ranked)
    mount("-o", "remount,bind,ro", ranked)
    assert command(ws, *NEW) == 2
    refused(capsys, ws, before, f"{ranked}/", "the file system is read-only", "untouched")
    assert command(ws, *NEW, "--dry-run") == 0  # needs no place to write
    subprocess.run(["mount", "-o", "remount,bind,rw", ranked], check=True)
    assert command(ws, *NEW) == 0 and seen(ws) == after


def test_a_lake_and_bundles_need_not_be_writable(ws, after, mount):
    mount("--bind", ws / "lake", ws / "lake")
    mount("-o", "remount,bind,ro", ws / "lake")
    assert command(ws, *NEW) == 0 and seen(ws) == after


def train_command(ws):
    argv = ["--config", str(ws / "ccf.toml"), "--date", DATE, "--train.max-steps", "1"]
    return console.main(train.TrainCommand, train.run, "train", argv=argv)


def test_no_place_for_a_bundle(ws, mount, capsys):
    (ws / "bundles").mkdir()
    mount("--bind", ws / "bundles", ws / "bundles")
    mount("-o", "remount,bind,ro", ws / "bundles")
    assert train_command(ws) == 2
    refused(capsys, ws, seen(ws), f"{ws}/bundles/", "read-only", "earlier bundles are untouched")


# Input


def put_back(file, data, stat):
    "As it was, its time of modification too."
    file.write_bytes(data)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def rows_of(ws, table):
    "The largest file of a table."
    return max(ws.glob(f"lake/{table}/**/*.parquet"), key=lambda p: p.stat().st_size)


def pages(file):
    "Where each column's pages begin."
    meta = pq.read_metadata(file)
    columns = [meta.row_group(0).column(k) for k in range(meta.num_columns)]
    return [(c.dictionary_page_offset or c.data_page_offset, c.path_in_schema) for c in columns]


@pytest.mark.parametrize("table", ["items", "interactions"])
@pytest.mark.parametrize("how", ["cut", "empty", "middle", "gone to zeros"])
def test_a_broken_input_file(ws, after, capsys, table, how):
    file, before = rows_of(ws, table), seen(ws)
    data, stat = file.read_bytes(), file.stat()
    if how == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "middle":  # the footer stays
        for at, _ in pages(file):
            data_ = bytearray(file.read_bytes())
            data_[at : at + 12] = b"?" * 12
            file.write_bytes(data_)
    else:
        end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        file.write_bytes(data[:4] + bytes(end - 4) + data[end:])
    assert command(ws, *NEW) == 2
    refused(capsys, ws, before, str(file), "write it again")
    assert train_command(ws) == 2
    refused(capsys, ws, before, str(file), "write it again")
    put_back(file, data, stat)
    assert command(ws, *NEW) == 0 and seen(ws) == after


@pytest.mark.parametrize("how", ["another", "removed", "cut", "one more"])
@pytest.mark.parametrize("when", ["before it is read", "when all is read"])
def test_input_that_is_replaced_meanwhile(ws, after, capsys, monkeypatch, how, when):
    file, before = rows_of(ws, "interactions"), seen(ws)
    data, stat = file.read_bytes(), file.stat()
    more = file.with_name("more.parquet")

    def change():
        if how == "another":
            other = file.with_suffix(".tmp")
            pq.write_table(pq.read_table(file).slice(1), other)
            os.replace(other, file)
        elif how == "removed":
            file.unlink()
        elif how == "cut":
            os.truncate(file, len(data) // 2)
        else:
            pq.write_table(pq.read_table(file).slice(1), more)

    real = assemble.Assembly.prepare

    def prepare(*args):
        if when == "before it is read":
            change()
            return real(*args)
        counts = real(*args)
        change()
        return counts

    monkeypatch.setattr(assemble.Assembly, "prepare", prepare)
    assert command(ws, *NEW) == 2
    refused(capsys, ws, before, str(ws / "lake"), file.name if how != "one more" else "more")
    # no shard was kept that was made of it
    assert not list(ws.glob("ranked/_staging/date=*/*/output/*.parquet"))
    monkeypatch.undo()
    stand_in.SLEEP_S = 0
    more.unlink(missing_ok=True)
    put_back(file, data, stat)
    assert command(ws, *NEW) == 0 and seen(ws) == after


# The clock


def test_what_comes_from_the_future_is_not_removed_early(ws):
    assert command(ws, *NEW) == 0
    ahead = time.time() + 400 * 86_400
    for path in [*ws.rglob("*")]:
        os.utime(path, (ahead, ahead))
    there = {p for p in ws.rglob("*") if p.is_file()}
    assert publish.tidy(ws / "ranked") == []
    s = load(config=ws / "ccf.toml")
    assert retention.prune(s, 86_400.0, published=True) == []
    assert {p for p in ws.rglob("*") if p.is_file()} >= there


def test_said_to_be_published_in_the_future_or_long_ago(ws):
    file = ws / f"ranked/date={DATE}/_manifest.json"
    about = json.loads(file.read_bytes())
    s = load(config=ws / "ccf.toml")
    for said in ("2099-01-01T00:00:00+00:00", "1970-01-01T00:00:00+00:00"):
        file.write_text(json.dumps(about | {"published_at": said}))
        (found,) = (run for run in retention.list_runs(s) if run.state == "published")
        assert found.last_written >= file.stat().st_mtime  # the later of what the two say


def test_a_clock_that_stands_still_or_goes_back(ws, after, monkeypatch):
    first = seen(ws)
    now = [1e9]  # long before what is there was written
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "time_ns", lambda: int(now[0] * 1e9))
    for _ in range(3):  # each replaces the other
        assert command(ws, *NEW) == 0 and seen(ws) == after
        assert command(ws, "--date", DATE, "--overwrite") == 0 and seen(ws) == first
        now[0] -= 3600  # and it stands still while a run goes on
    kept = list(ws.glob("ranked/_staging/date=*/*.replaced-*"))
    assert len(kept) == 6 == len({p.name for p in kept})


# Others


def meanwhile(ws, monkeypatch, *flags):
    "While a run is among its shards, another process does what `flags` say; its exit code and last words."
    argv = [sys.executable, stand_in.__file__, "--config", str(ws / "ccf.toml"), *flags]
    real, other = scoring.score_shard, []

    def shard(night, run, number, *rest):
        real(night, run, number, *rest)
        if number == 1:
            other.append(subprocess.run(argv, capture_output=True, text=True))

    monkeypatch.setattr(scoring, "score_shard", shard)
    assert command(ws, *NEW) == 0
    (done,) = other
    return done.returncode, done.stderr.strip().rpartition("\n")[2]


def test_a_second_run_for_a_date_says_so_and_harms_nobody(ws, after, monkeypatch):
    code, said = meanwhile(ws, monkeypatch, "--date", DATE, "--top-k", "5", "--overwrite")
    assert code == 2
    assert f"{ws}/ranked/_staging/date={DATE}.lock" in said
    assert f"a run for {DATE} is under way (process {os.getpid()})" in said
    assert seen(ws) == after


def test_runs_for_two_dates_at_once(ws, after, monkeypatch):
    code, _ = meanwhile(ws, monkeypatch, "--date", OTHER, "--top-k", "3")
    assert code == 0
    got = seen(ws)
    assert {name: data for name, data in got.items() if DATE in name} == after
    assert any(OTHER in name for name in got)


def test_somebody_who_only_looks_sends_no_run_away(tmp_path):
    root, day = tmp_path, dt.date(2026, 3, 2)
    held = threading.Event()

    def look():
        with locked(root, day):
            held.set()
            time.sleep(0.2)

    looking = threading.Thread(target=look)
    looking.start()
    assert held.wait(10)
    with pytest.raises(InputError, match="under way"), locked(root, day):
        pass
    with locked(root, day, PATIENCE_S * 20):
        pass
    looking.join()
