"""Die at every step that touches the disk, in every way, and look at what readers see and what a rerun makes.

`python tests/faults.py SCENE` prints what became of it as JSON, `python tests/faults.py --out FILE`
tries all scenes and writes the file that the documentation shows. Scenes are the four places where
something is made visible: a bundle, a lake, a night's output (`publication` alone, and the whole
command `score`). Faults at step k, for every k:

- `error`: the call fails with EIO
- `full`: the disk is full, what was being written is half there
- `kill`: the process ends at once
- `torn`: the same, what was being written is half there
- `power`: the log of a whole run is replayed up to k; what was not yet forced to the disk is there,
  or gone, or half there, in every combination and some chosen by chance

Afterwards a reader must see all of the old or all of the new, and the same command again must give
the bytes of an undisturbed run. Children are forked from a process that has loaded everything.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import hashlib
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FAULTS = ("error", "full", "kill", "torn", "power")
DIED = 77  # exit code of a child that was killed at a step


@dataclass
class Scene:
    "Something that is made visible."

    prepare: Callable[[Path], None]  # What is there before
    act: Callable[[Path], None]  # Makes the new
    seen: Callable[[Path], dict[str, str]]  # What readers find: hashes by name; raises on a mixture
    rerun_all: bool = True  # After a power cut: run again after each, or after every tenth


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def hashes(folder: Path, pattern: str) -> dict[str, str]:
    found = sorted(p for p in folder.glob(pattern) if p.is_file())
    return {str(p.relative_to(folder)): digest(p.read_bytes()) for p in found}


PROCESS_ID = re.compile(r"(?<=\.)\d+(?=\.tmp$)")  # in names of temporary files
MEASURED = re.compile(rb"\d+\.\d+(e-?\d+)?|\d{4}-\d\d-\d\dT[\d:.+]+")  # seconds and moments


def state(folder: Path) -> str:
    """Hash of all that lies in a folder, names and bytes, but for what differs from run to run.

    That is the number of a process, seconds and moments in JSON, and the bytes of DuckDB's temporary
    database, which a rerun removes unread.
    """
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name, data = PROCESS_ID.sub("N", str(path.relative_to(folder))), b""
        if path.is_file() and path.suffix not in (".lock", ".duckdb", ".wal"):
            data = path.read_bytes()
            if ".json" in path.name:
                data = MEASURED.sub(b"", data)
        found.update(repr((name, path.is_dir(), digest(data))).encode())
    return found.hexdigest()


# Children


def start(work: Callable[[], None], say: bool = False) -> int:
    "Begin it in a fork, whose exit code is 1 where it raises; the id of its process."
    pid = os.fork()
    if pid:
        return pid
    code = 0
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        if not say:
            os.dup2(null, 2)
        work()
    except BaseException as e:
        code = 1
        if say:
            import traceback

            traceback.print_exception(e)
    os._exit(code)


def child(work: Callable[[], None], say: bool = False) -> int:
    "Do it in a fork; its exit code."
    return os.waitstatus_to_exitcode(os.waitpid(start(work, say), 0)[1])


def listening(watcher, work):
    "The same work, with somebody at the seam."
    from ccf_batch.base import atomic

    def listened():
        atomic.watcher = watcher
        work()

    return listened


def half(path: Path) -> None:
    "Of the newest file that was written here, the first half."
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for file in sorted(files, key=lambda p: p.stat().st_mtime_ns)[-1:]:
        os.truncate(file, file.stat().st_size // 2)


def failing(k: int, fault: str):
    "A watcher that fails at the k-th step."
    count = [0]

    def watcher(what, paths):
        count[0] += 1
        if count[0] != k:
            return
        if fault in ("full", "torn") and what == "written":
            half(paths[0])
        if fault in ("kill", "torn"):
            os._exit(DIED)
        number = errno.ENOSPC if fault == "full" else errno.EIO
        raise OSError(number, os.strerror(number), str(paths[0]))

    return watcher


def applies(fault: str, what: str) -> bool:
    "Only a write can be half done or fill the disk; only what makes something needs room."
    needs_room = what in ("write", "written", "mkdir", "rename", "link", "exchange")
    return {"full": needs_room, "torn": what == "written"}.get(fault, True)


# The log of a run, and what a power cut leaves of it


@dataclass
class Log:
    "What a run did: (operation, paths below the root, content of what was written)."

    root: Path
    steps: list[tuple[str, tuple[str, ...], dict[str, bytes]]] = field(default_factory=list)

    def __call__(self, what, paths):
        names = tuple(os.path.relpath(p, self.root) for p in paths)
        content = {}
        if what == "written":
            files = [paths[0]] if paths[0].is_file() else paths[0].rglob("*")
            content = {
                os.path.relpath(p, self.root): p.read_bytes()
                for p in files
                if p.is_file() and p.suffix not in (".duckdb", ".wal")
            }
        self.steps.append((what, names, content))


class Disk:
    "A file system in memory: folders and files are numbered, names are entries of folders."

    def __init__(self, root: Path):
        self.entries: dict[int, dict[str, int]] = {0: {}}  # of folders
        self.data: dict[int, bytes] = {}  # of files
        self.new = 1
        self.changes: list[
            tuple[int, list[tuple[int, str, int | None]]]
        ] = []  # step; entry changes
        self.synced: dict[int, list[int]] = {}  # number: steps at which it was forced to the disk
        self.written: dict[int, int] = {}  # file: step of its last write
        self.step = -1
        for path in sorted(root.rglob("*")):
            name = os.path.relpath(path, root)
            self._create(name, path.read_bytes() if path.is_file() else None)
        self.changes, self.written = [], {}
        self.first = {n: dict(e) for n, e in self.entries.items()}

    def find(self, name: str) -> int | None:
        at: int | None = 0
        for part in Path(name).parts:
            at = self.entries.get(at, {}).get(part) if at is not None else None
        return at

    def _split(self, name: str) -> tuple[int, str]:
        parent = self.find(os.path.dirname(name)) if os.path.dirname(name) else 0
        assert parent is not None, name
        return parent, os.path.basename(name)

    def _change(self, *entries: tuple[int, str, int | None]) -> None:
        self.changes.append((self.step, list(entries)))
        for folder, name, to in entries:
            if to is None:
                self.entries[folder].pop(name, None)
            else:
                self.entries[folder][name] = to

    def _create(self, name: str, data: bytes | None) -> None:
        folder, last = self._split(name)
        number, self.new = self.new, self.new + 1
        if data is None:
            self.entries[number] = {}
        else:
            self.data[number] = data
            self.written[number] = self.step
        self._change((folder, last, number))

    def do(self, step: int, what: str, names: tuple[str, ...], content: dict[str, bytes]) -> None:
        self.step = step
        if what == "mkdir" and self.find(names[0]) is None:
            self._create(names[0], None)
        elif what == "written":
            for name, data in content.items():
                for above in reversed(Path(name).parents):
                    if self.find(str(above)) is None:
                        self._create(str(above), None)
                there = self.find(name)
                if there is None or self.data[there] != data:
                    self._create(name, data)
        elif what == "sync":
            if (number := self.find(names[0])) is not None:
                self.synced.setdefault(number, []).append(step)
        elif what in ("rename", "exchange", "link"):
            a, b = (self._split(name) for name in names)
            number = self.find(names[0])
            if number is None:  # made by what the seam does not show: DuckDB's own tables
                return
            other = self.find(names[1]) if what == "exchange" else None
            left = [] if what == "link" else [(*a, other)]
            self._change(*left, (*b, number))
        elif what in ("unlink", "rmdir") and self.find(names[0]) is not None:
            self._change((*self._split(names[0]), None))

    def after(self, upto: int, keep: Callable[[int], bool], data: Callable[[int], str]):
        "The tree that is found after a power cut before step `upto`: {name: bytes; None: a folder}."
        entries = {n: dict(e) for n, e in self.first.items()}
        for number, (step, changes) in enumerate(self.changes):
            if step >= upto:
                break
            # one transaction of the journal, durable once the folder with the new name is; only the
            # old name of a file that moved between two folders may come back beside it
            durable = [
                any(step < s < upto for s in self.synced.get(folder, [])) for folder, *_ in changes
            ]
            kept = keep(number)
            if durable[-1] or kept:
                for (folder, name, to), safe in zip(changes, durable, strict=True):
                    moved = changes[-1][2]
                    if to is None and moved in self.data and not (safe or kept):
                        continue
                    entries.setdefault(folder, {})
                    if to is None:
                        entries[folder].pop(name, None)
                    else:
                        entries[folder][name] = to
        found: dict[str, bytes | None] = {}

        def walk(folder: int, above: str) -> None:
            for name, number in entries.get(folder, {}).items():
                path = f"{above}{name}"
                if number in self.data:
                    whole, wrote = self.data[number], self.written.get(number)
                    safe = wrote is None or any(
                        wrote <= s < upto for s in self.synced.get(number, [])
                    )
                    state = "kept" if safe else data(number)
                    found[path] = {"kept": whole, "dropped": b""}.get(
                        state, whole[: len(whole) // 2]
                    )
                else:
                    found[path] = None
                    walk(number, f"{path}/")

        walk(0, "")
        return found


def power_cuts(log: Log, disk: Disk, seed: int = 0):
    "(step, what was found) for each power cut; the same tree only once a step."
    dice = random.Random(seed)
    for step, (what, names, content) in enumerate(log.steps):
        disk.do(step, what, names, content)
    for upto in range(len(log.steps) + 1):
        seen = set()
        names = [lambda n: True, lambda n: False]
        for _ in range(3):
            chosen: dict[int, bool] = {}
            names.append(lambda n, chosen=chosen: chosen.setdefault(n, dice.random() < 0.5))
        for keep in names:
            for how in ("kept", "dropped", "torn", "chance"):
                pick = lambda n, how=how: (  # noqa: E731
                    dice.choice(("kept", "dropped", "torn")) if how == "chance" else how
                )
                tree = disk.after(upto, keep, pick)
                key = hash(
                    tuple(sorted((n, None if d is None else digest(d)) for n, d in tree.items()))
                )
                if key not in seen:
                    seen.add(key)
                    yield upto, tree


def put(tree: dict[str, bytes | None], root: Path, old: Path) -> None:
    "Write it; what was there before the run keeps its times, which are a part of fingerprints."
    for name, data in sorted(tree.items()):
        if data is None:
            (root / name).mkdir(parents=True, exist_ok=True)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
            if (old / name).is_file() and (old / name).read_bytes() == data:
                shutil.copystat(old / name, root / name)


# The matrix


def run_scene(scene: Scene, faults=FAULTS, limit: int | None = None) -> dict:
    "Try every fault at every step; `tried` and `lost` by step and fault, and what was lost in words."
    began = time.perf_counter()
    top = Path(tempfile.mkdtemp(prefix="faults-"))
    tried, lost, words, points = Counter(), Counter(), [], Counter()
    reruns: dict[str, str | None] = {}  # what was found: what a rerun made of it that is wrong
    try:
        old = top / "old"
        old.mkdir()
        assert child(lambda: scene.prepare(old), say=True) == 0
        before = scene.seen(old)
        whole = shutil.copytree(old, top / "whole", symlinks=True)
        log_file = top / "log"

        def logged():
            log = Log(whole)
            listening(log, lambda: scene.act(whole))()
            said = [
                [what, names, {k: v.hex() for k, v in c.items()}] for what, names, c in log.steps
            ]
            log_file.write_text(json.dumps(said))

        assert child(logged, say=True) == 0
        after = scene.seen(whole)
        assert before != after
        said = json.loads(log_file.read_text())
        log = Log(
            whole,
            [(what, tuple(n), {k: bytes.fromhex(v) for k, v in c.items()}) for what, n, c in said],
        )
        steps = [what for what, *_ in log.steps]

        def again(here: Path) -> str | None:
            if child(lambda: scene.act(here)):
                return "a rerun fails"
            return None if scene.seen(here) == after else "a rerun gives other bytes"

        def judge(here: Path, step: str, fault: str, where: str, rerun: bool, done: bool) -> None:
            tried[step, fault] += 1
            said = None
            try:
                now = scene.seen(here)
                if now not in (before, after):
                    said = f"neither old nor new: {sorted(now)}"
                elif done and now != after:
                    said = "it had ended, and the new was not durable"
                points[now == after] += 1
            except Exception as e:
                said = f"readers fail: {e!r}"
            if said is None and rerun:
                found = state(here)
                if found not in reruns:
                    reruns[found] = again(here)
                said = reruns[found]
            if said:
                lost[step, fault] += 1
                words.append(f"{fault} at {where} ({step}): {said}")

        for k, what in enumerate(steps[:limit], 1):
            for fault in faults:
                if fault == "power" or not applies(fault, what):
                    continue
                here = shutil.copytree(old, top / "here", symlinks=True)
                code = child(listening(failing(k, fault), lambda here=here: scene.act(here)))
                dies = fault in ("kill", "torn")
                assert code == DIED if dies else code in (0, 1), (k, what, fault, code)
                judge(here, what, fault, f"step {k}", rerun=True, done=False)
                shutil.rmtree(here)
        if "power" in faults:
            for n, (upto, tree) in enumerate(power_cuts(log, Disk(old))):
                here = top / "here"
                here.mkdir()
                put(tree, here, old)
                step = steps[upto] if upto < len(steps) else "after the end"
                rerun = scene.rerun_all or n % 10 == 0
                judge(here, step, "power", f"step {upto}", rerun, done=upto == len(steps))
                shutil.rmtree(here)
        assert points[False] and points[True], "the moment of change was not met"
    finally:
        shutil.rmtree(top)
    return {
        "steps": len(steps),
        "tried": [[*key, n] for key, n in sorted(tried.items())],
        "lost": [[*key, n] for key, n in sorted(lost.items())],
        "words": words,
        "saw_old": points[False],
        "saw_new": points[True],
        "reruns": len(reruns),
        "seconds": round(time.perf_counter() - began, 1),
    }


# Scenes


def bundle_scene() -> Scene:
    "A trained model is written beside an earlier one; the same one again replaces itself."
    import tiny

    from ccf_batch.model import bundle
    from ccf_batch.settings import Settings

    tree = {"model": {"hidden": 16, "layers": 1}, "cf": {"factors": 3}, "score": {"threads": 1}}
    first, second = (tiny.model_of(Settings.model_validate(tree), seed=seed)[0] for seed in (1, 2))

    def save(root, model):
        model.settings._workspace = root
        tiny.save(model, {"valid_auc": 0.7})

    def seen(root):
        found = {}
        for file in root.glob("bundles/[!.]*/bundle.json"):
            metadata = bundle.read(file.parent)
            assert bundle._hashes(file.parent) == metadata.files, "not what it states"
            found[file.parent.name] = metadata.id
        folders = {p.name for p in root.glob("bundles/[!.]*")}
        assert folders == found.keys(), "a folder that is no bundle"
        return found

    new = lambda root: save(root, second)  # noqa: E731
    return Scene(lambda root: save(root, first), new, seen, rerun_all=False)


def ingest_scene() -> Scene:
    "A lake is made again from a source that has changed; candidates that were brought stay."
    from ccf_batch import ingest
    from ccf_batch.base import console

    toml = """
[domain]
liked_above = 3
[ingest]
interactions = "events.csv"
items = "items.csv"
[score]
threads = 1
memory_limit = "500MB"
"""

    def source(root, days):
        (root / "source").mkdir(exist_ok=True)
        rows = [f"u{n},i{n % 5},{n % 5 + 1},{1735689600 + n * 40_000}" for n in range(days * 2)]
        (root / "source/events.csv").write_text(
            "user_id,item_id,rating,event_ts\n" + "\n".join(rows) + "\n"
        )
        items = "\n".join(f"i{n},Title {n}" for n in range(5))
        (root / "source/items.csv").write_text(f"item_id,title\n{items}\n")

    def make(root, days):
        source(root, days)
        argv = ["--config", str(root / "ccf.toml"), "--source", str(root / "source")]
        if console.main(ingest.IngestCommand, ingest.run, "ingest", argv=argv):
            raise SystemExit(1)

    def prepare(root):
        import pyarrow as pa
        import pyarrow.parquet as pq

        (root / "ccf.toml").write_text(toml)
        make(root, 2)
        brought = root / "lake/candidates/date=2025-01-04"
        brought.mkdir(parents=True)
        rows = {"user_id": ["u1"], "item_id": ["i2"], "source": ["mine"]}
        pq.write_table(pa.table(rows), brought / "mine.parquet")
        source(root, 3)

    tables = "lake/*/**/*.parquet"
    return Scene(
        prepare, lambda root: make(root, 3), lambda root: hashes(root, tables), rerun_all=False
    )


def publication_scene() -> Scene:
    "A night's shards become a published date that replaces another one; its neighbour stays."
    import pyarrow as pa

    from ccf_batch.data.ranked import row_schema
    from ccf_batch.night import publish
    from ccf_batch.night.run import Run, fingerprint_run, locked
    from ccf_batch.settings import Settings

    columns = row_schema(pa.int64(), pa.int64())
    day, other = dt.date(2026, 7, 1), dt.date(2026, 6, 30)

    def night(root, bundle, date=day):
        made_of = fingerprint_run(date, [], bundle, Settings())
        with locked(root / "ranked", date):
            run = Run(root / "ranked", date, made_of, {"threads": 1})
            for k in (k for k in range(3) if k not in run.done):
                with publish.write_shard(run, k, 3, columns) as out:
                    ids = [k, 1, 1, 0.5, 0.0, "popular", "scored", bundle, run.id]
                    out.write(pa.table([[v] for v in ids], names=columns.names).cast(columns))
            publish.publish(run, 3, {})

    def prepare(root):
        night(root, "b0", other)
        night(root, "b1")

    def act(root):
        night(root, "b2")

    return Scene(prepare, act, lambda root: hashes(root, "ranked/date=*/*.parquet"))


def score_scene(first: bool = False) -> Scene:
    "The whole command, with a formula in the model's place."
    import stand_in
    from tiny import CONFIG, write_workspace

    stand_in.SLEEP_S = 0
    extra = 'shard_users = 15\nmemory_limit = "500MB"\nrerank = 8\n[candidates]\nfactors = 0\nlinear = 0\ntext = 0\n'

    def command(root, *flags):
        argv = ["--config", str(root / "ccf.toml"), "--show-users", "0", *flags]
        if stand_in.main([*argv, "--checks.on-failure", "warn"]):
            raise SystemExit(1)

    def prepare(root):
        root.rmdir()
        root.mkdir()
        write_workspace(root, CONFIG + extra, users=40, items=30, n=400, every=5)
        command(root, "--date", "2026-02-27")
        if not first:
            command(root, "--date", "2026-03-02")

    def act(root):
        new = ["--date", "2026-03-02", "--top-k", "3"]
        about = root / "ranked/date=2026-03-02/_manifest.json"
        done = about.exists() and json.loads(about.read_bytes())["settings"]["top_k"] == 3
        command(root, *new, *([] if done else ["--overwrite"]))

    return Scene(
        prepare, act, lambda root: hashes(root, "ranked/date=*/*.parquet"), rerun_all=False
    )


SCENES = {
    "bundle": bundle_scene,
    "ingest": ingest_scene,
    "publication": publication_scene,
    "score": score_scene,
    "score, first time": lambda: score_scene(first=True),
}


def load_everything() -> None:
    "Import once what a child would have to import, and leave no thread that a fork would lose."
    import importlib
    import pkgutil

    import ccf_batch

    for module in pkgutil.walk_packages(ccf_batch.__path__, "ccf_batch."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    for name in ("duckdb", "pyarrow.parquet", "torch", "rich.console", "rich.table", "tqdm"):
        importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)


def main(argv: list[str]) -> int:
    load_everything()
    if argv[0] == "--out":
        found = {name: run_scene(scene()) for name, scene in SCENES.items()}
        Path(argv[1]).write_text(json.dumps(found, indent=1) + "\n")
        return int(any(scene["lost"] for scene in found.values()))
    out = os.dup(1)
    with contextlib.redirect_stdout(sys.stderr):
        found = run_scene(SCENES[argv[0]](), argv[1:] or FAULTS)
    os.write(out, json.dumps(found).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
