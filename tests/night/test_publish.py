"`publish`: shards, resuming, the manifest and what a reader may see."

import datetime as dt
import hashlib
import json
import os
import time

import duckdb
import pyarrow.parquet as pq
import pytest
from small_runs import COLUMNS, DAY, INPUTS, MACHINE, content, fingerprint, go, rows, users_of

from ccf_batch.base import atomic
from ccf_batch.base.errors import InputError
from ccf_batch.base.fingerprint import describe_changes, run_id_of
from ccf_batch.data.ranked import SCHEMA_VERSION, damage, read_manifest
from ccf_batch.night import publish
from ccf_batch.night.run import Run, locked
from ccf_batch.settings import Settings


def test_a_reader_finds_rows_and_manifest(tmp_path):
    go(tmp_path, users=12)
    got = duckdb.execute(
        "SELECT count(*), count(DISTINCT user_id), min(date) FROM read_parquet($p)",
        {"p": f"{tmp_path}/date=*/*.parquet"},
    ).fetchone()
    assert got == (36, 12, DAY)
    manifest = read_manifest(tmp_path, DAY)
    assert manifest["users"] == 12 and manifest["rows"] == 36 and manifest["attempts"] == 1
    assert manifest["inputs"] == INPUTS and manifest["bundle"] == "b1"
    assert manifest["settings"]["top_k"] == 20 and manifest["seed"] == 0
    assert [shard["counts"] for shard in manifest["shards"]] == [{"users": 4}] * 3
    assert manifest["versions"]["duckdb"] == duckdb.__version__
    assert manifest["run_id"] == run_id_of(fingerprint())
    assert damage(tmp_path / f"date={DAY}", manifest) == []
    assert sorted(p.name for p in (tmp_path / "_staging").iterdir()) == [
        f"date={DAY}",
        f"date={DAY}.lock",
    ]
    assert list((tmp_path / "_staging" / f"date={DAY}").iterdir()) == []


def test_a_file_says_what_it_is(tmp_path):
    go(tmp_path)
    for file in (tmp_path / f"date={DAY}").glob("*.parquet"):
        name = file.name.split(".")
        meta = pq.read_metadata(file)
        assert f"rows-{meta.num_rows}" == name[1]
        assert name[2] == "sha256-" + hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        about = json.loads(meta.metadata[b"ccf_batch"])
        assert about["schema_version"] == SCHEMA_VERSION and about["shards"] == 3
        assert meta.row_group(0).column(0).compression == "ZSTD"
        assert pq.read_schema(file).remove_metadata().equals(COLUMNS)


def test_resumed_bytes_equal_uninterrupted_ones(tmp_path):
    go(tmp_path / "whole")
    assert go(tmp_path / "dies", stop_after=1) == [0]
    assert not (tmp_path / "dies" / f"date={DAY}").exists()
    assert go(tmp_path / "dies", stop_after=1) == [1]
    assert go(tmp_path / "dies") == [2]
    assert content(tmp_path / "dies") == content(tmp_path / "whole")
    assert read_manifest(tmp_path / "dies", DAY)["attempts"] == 3


def test_batching_within_a_shard_moves_no_byte(tmp_path):
    users = users_of(0, 50_000)  # more rows than one row group
    for name, size in (("a", 50_000), ("b", 777)):
        with locked(tmp_path / name, DAY):
            run = Run(tmp_path / name, DAY, fingerprint(), MACHINE)
            whole = rows(run, users)
            with publish.write_shard(run, 0, 1, COLUMNS) as out:
                for start in range(0, len(users), size):
                    n = min(size, len(users) - start)
                    out.write(whole.slice(start * 3, n * 3))
            publish.publish(run, 1, {})
    assert content(tmp_path / "a") == content(tmp_path / "b")
    (file,) = (tmp_path / "a" / f"date={DAY}").glob("*.parquet")
    meta = pq.read_metadata(file)
    groups = [meta.row_group(g).num_rows for g in range(meta.num_row_groups)]
    assert groups == [publish.ROW_GROUP, 150_000 - publish.ROW_GROUP]


def test_a_damaged_shard_is_made_again(tmp_path, capsys):
    go(tmp_path, stop_after=2)
    output = next((tmp_path / "_staging" / f"date={DAY}").glob("*/output"))
    broken = sorted(output.iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    (output / "stray.parquet").write_bytes(b"not ours")
    assert go(tmp_path) == [1, 2]
    assert "not what its name says" in capsys.readouterr().out
    assert len(content(tmp_path)) == 3


def test_another_machine_starts_over_and_says_why(tmp_path, capsys):
    go(tmp_path, stop_after=2)
    assert go(tmp_path, machine={"threads": 8, "dtype": "float32"}) == [0, 1, 2]
    assert "another machine (threads (2 → 8))" in capsys.readouterr().out


def test_another_fingerprint_starts_over_and_says_why(tmp_path, capsys):
    go(tmp_path, stop_after=2)
    later = [{**INPUTS[0], "mtime_ns": 2}]
    other = fingerprint(inputs=later, bundle="b2", settings=Settings(top_k=5))
    assert go(tmp_path, other) == [0, 1, 2]
    said = capsys.readouterr().out
    for part in ("input files (items/a.parquet)", "bundle (b1 → b2)", "top_k (20 → 5)"):
        assert part in said


@pytest.mark.parametrize(
    "change",
    [
        {"bundle": "b2"},
        {"settings": Settings(top_k=5)},
        {"inputs": []},
        {"limit_users": 3},
        {"date": dt.date(2026, 7, 2)},
    ],
)
def test_whatever_rows_depend_on_names_another_run(change):
    assert run_id_of(fingerprint()) != run_id_of(fingerprint(**change))
    assert describe_changes(fingerprint(), fingerprint(**change))


def test_moving_a_workspace_keeps_the_name():
    moved = Settings.model_validate({"paths": {"lake": "/elsewhere/lake"}})
    assert run_id_of(fingerprint()) == run_id_of(fingerprint(settings=moved))


def test_replaced_output_is_kept_for_a_day(tmp_path):
    go(tmp_path)
    first = content(tmp_path)
    go(tmp_path, fingerprint(bundle="b2"))
    (kept,) = (tmp_path / "_staging" / f"date={DAY}").iterdir()
    assert {p.name: p.read_bytes() for p in kept.glob("output/*.parquet")} == first
    assert publish.tidy(tmp_path) == []
    old = time.time() - 2 * 86_400
    for path in [kept, *kept.rglob("*")]:
        os.utime(path, (old, old))
    with locked(tmp_path, DAY):
        assert publish.tidy(tmp_path) == []  # a date whose run is alive is left alone
    assert publish.tidy(tmp_path) == [kept] and not kept.exists()


def test_dying_just_after_the_swap(tmp_path, monkeypatch):
    go(tmp_path)
    monkeypatch.setattr(Run, "rename_to_replaced", lambda run: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        go(tmp_path, fingerprint(bundle="b2"))
    monkeypatch.undo()
    second = content(tmp_path)
    # the same run again finds the *earlier* output where its shards were, and is not fooled
    assert go(tmp_path, fingerprint(bundle="b2")) == [0, 1, 2]
    assert content(tmp_path) == second


def test_dying_just_before_the_swap_publishes_the_next_time(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "swap_in", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        go(tmp_path)
    monkeypatch.undo()
    assert read_manifest(tmp_path, DAY) is None
    assert go(tmp_path) == []
    assert len(content(tmp_path)) == 3


def test_a_failing_shard_leaves_nothing(tmp_path):
    with locked(tmp_path, DAY):
        run = Run(tmp_path, DAY, fingerprint(), MACHINE)
        with pytest.raises(KeyError), publish.write_shard(run, 0, 1, COLUMNS) as out:
            out.write(rows(run, users_of(0)))
            raise KeyError
        assert sorted(p.name for p in run.folder.rglob("*")) == ["output", "run.json"]
        with pytest.raises(AssertionError, match="missing"):
            publish.publish(run, 1, {})


def test_users_out_of_order_are_our_mistake(tmp_path):
    with locked(tmp_path, DAY):
        run = Run(tmp_path, DAY, fingerprint(), MACHINE)
        with pytest.raises(AssertionError, match="order"):
            with publish.write_shard(run, 0, 1, COLUMNS) as out:
                out.write(rows(run, ["b"]))
                out.write(rows(run, ["a"]))


def test_two_runs_for_a_date_exclude_each_other(tmp_path):
    with locked(tmp_path, DAY):
        with pytest.raises(InputError, match="a run for 2026-07-01 is under way"):
            go(tmp_path)
        with locked(tmp_path, dt.date(2026, 7, 2)):
            pass


def test_unreadable_manifest_and_damage(tmp_path):
    assert read_manifest(tmp_path, DAY) is None
    go(tmp_path)
    folder = tmp_path / f"date={DAY}"
    manifest = read_manifest(tmp_path, DAY)
    file = next(folder.glob("*.parquet"))
    file.unlink()
    assert damage(folder, manifest) == [file.name]
    (folder / "_manifest.json").write_text("{")
    assert read_manifest(tmp_path, DAY) == {}


class Crash(BaseException):
    "The machine stops here."


def crash_at(monkeypatch, k):
    "Stop at the k-th step that reaches the disk; returns the counter of steps."
    steps = [0]

    def counted(real):
        def step(*args, **kw):
            steps[0] += 1
            if steps[0] == k:
                raise Crash
            return real(*args, **kw)

        return step

    for module, name in ((os, "fsync"), (os, "replace"), (os, "rename"), (atomic, "_exchange")):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    return steps


def test_a_crash_at_any_step_shows_the_old_or_the_new_and_a_rerun_completes(tmp_path, monkeypatch):
    old, new = fingerprint(bundle="b1"), fingerprint(bundle="b2")
    go(tmp_path / "old", old), go(tmp_path / "new", new)
    before, after = content(tmp_path / "old"), content(tmp_path / "new")
    assert before != after
    go(tmp_path / "counted", old)
    with monkeypatch.context() as m:
        steps = crash_at(m, 0)
        go(tmp_path / "counted", new)
    assert steps[0] > 20
    swapped = []
    for k in range(1, steps[0] + 1):
        root = tmp_path / str(k)
        go(root, old)
        with monkeypatch.context() as m:
            crash_at(m, k)
            with pytest.raises(Crash):
                go(root, new)
        seen = content(root)
        assert seen in (before, after)
        swapped.append(seen == after)
        go(root, new)
        assert content(root) == after
        assert read_manifest(root, DAY)["run_id"] == run_id_of(new)
    assert swapped == sorted(swapped) and not swapped[0]  # one moment, and no way back


def test_a_signal_while_the_writer_is_being_made_leaves_no_file(tmp_path, monkeypatch):
    def interrupted(path, *_, **__):
        path.write_bytes(b"PAR1")
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "ParquetWriter", interrupted)
    with locked(tmp_path, DAY):
        run = Run(tmp_path, DAY, fingerprint(), MACHINE)
        with pytest.raises(KeyboardInterrupt), publish.write_shard(run, 0, 1, COLUMNS):
            pass
        assert not list(run.folder.rglob("*.tmp"))
