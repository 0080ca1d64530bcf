"`disk`: what is visible at any moment, and who may write."

import errno
import multiprocessing as mp
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ccf_batch.base import atomic
from ccf_batch.base.errors import InputError


def folder(path: Path, text: str) -> Path:
    "A folder of two files that both say `text`."
    (path / "sub").mkdir(parents=True)
    (path / "a.txt").write_text(text)
    (path / "sub" / "b.txt").write_text(text)
    return path


def test_write_replaces_whole(tmp_path):
    atomic.write(tmp_path / "x.json", b"one")
    atomic.write(tmp_path / "x.json", b"two")
    assert (tmp_path / "x.json").read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_first_swap_renames(tmp_path):
    assert atomic.swap_in(folder(tmp_path / "s", "new"), tmp_path / "deep" / "final") is False
    assert (tmp_path / "deep" / "final" / "sub" / "b.txt").read_text() == "new"
    assert not (tmp_path / "s").exists()


def test_swap_keeps_the_old_for_the_caller(tmp_path):
    folder(tmp_path / "final", "old")
    assert atomic.swap_in(folder(tmp_path / "s", "new"), tmp_path / "final") is True
    assert (tmp_path / "final" / "a.txt").read_text() == "new"
    assert (tmp_path / "s" / "a.txt").read_text() == "old"


def _no_exchange(a, b):
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def test_without_exchange_it_says_so_and_leaves_the_old(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange", _no_exchange)
    atomic.require_exchange(tmp_path / "final")  # nothing there: a rename will do
    folder(tmp_path / "final", "old")
    with pytest.raises(InputError, match=r"final: exists.*Invalid argument.*--paths\.allow-gap"):
        atomic.require_exchange(tmp_path / "final")
    with pytest.raises(InputError, match="one step"):
        atomic.swap_in(folder(tmp_path / "s", "new"), tmp_path / "final")
    assert (tmp_path / "final" / "a.txt").read_text() == "old"
    assert atomic.swap_in(tmp_path / "s", tmp_path / "final", allow_gap=True)
    assert (tmp_path / "final" / "a.txt").read_text() == "new"
    assert (tmp_path / "s" / "a.txt").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["final", "s"]


def test_every_file_and_both_parents_are_synced(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1],
    )
    (tmp_path / "stage").mkdir(), (tmp_path / "out").mkdir()
    folder(tmp_path / "stage" / "s", "new")
    atomic.swap_in(tmp_path / "stage" / "s", tmp_path / "out" / "final")
    names = [os.path.relpath(p, tmp_path) for p in synced]
    assert set(names[:4]) == {"stage/s/a.txt", "stage/s/sub/b.txt", "stage/s/sub", "stage/s"}
    assert names[4:] == ["out", "stage"]


def test_a_file_is_synced_before_it_has_its_final_name(tmp_path, monkeypatch):
    "After a power cut a name never stands for a file whose content is not on the disk."
    done = []
    sync, replace = os.fsync, os.replace

    def fsync(fd):
        done.append(("sync", os.readlink(f"/proc/self/fd/{fd}")))
        sync(fd)

    def rename(old, new):
        done.append(("rename", str(old), str(new)))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    old, new = tmp_path / "x.tmp", tmp_path / "x"
    old.write_text("x")
    atomic.move(old, new)
    assert done == [("sync", str(old)), ("rename", str(old), str(new)), ("sync", str(tmp_path))]


_SWAP_FOR_EVER = """
import sys
from pathlib import Path
from ccf_batch.base import atomic as disk
root = Path(sys.argv[1])
for k in range(10**9):
    staged = root / f"staged-{k}"
    staged.mkdir()
    for name in ("a", "b", "c"):
        (staged / name).write_text(str(k))
    disk.swap_in(staged, root / "final")
    disk.remove(staged)
    if k == 0:
        print("ready", flush=True)
"""


def test_killed_while_swapping_never_mixed_nor_gone(tmp_path):
    for pause in (0.01, 0.03, 0.05, 0.08):
        job = subprocess.Popen(
            [sys.executable, "-c", _SWAP_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert job.stdout.readline() == b"ready\n"
        time.sleep(pause)
        job.kill()
        job.wait()
        job.stdout.close()
        said = {(tmp_path / "final" / name).read_text() for name in "abc"}
        assert len(said) == 1
        for left in tmp_path.glob("staged-*"):
            atomic.remove(left)


def _hold(path, ready):
    with atomic.lock(path, "a run"):
        ready.set()
        time.sleep(60)


def test_lock_dies_with_its_owner(tmp_path):
    spawn = mp.get_context("spawn")
    ready = spawn.Event()
    owner = spawn.Process(target=_hold, args=(tmp_path / "x.lock", ready))
    owner.start()
    assert ready.wait(30)
    with pytest.raises(InputError, match=f"a run is under way \\(process {owner.pid}\\)"):
        with atomic.lock(tmp_path / "x.lock", "a run"):
            pass
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    with atomic.lock(tmp_path / "x.lock", "a run"):
        pass
