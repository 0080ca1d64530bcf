"""A month of nights with somebody who kills them, and a reader who never stops looking.

`python tests/soak.py --out benchmarks/results/soak.json` publishes 30 dates of ml-100k (200 users,
20 candidates each, a language model of one layer), replaces some of them with other settings, and kills
the runs, at least 100 times in all, at random moments: SIGKILL mostly, also SIGTERM and SIGINT. Half of the
moments lie anywhere in a run, the others in a stage that was chosen first, because publication takes
too little time to be met by chance. All the while a process polls `ranked/date=*/*.parquet` and writes down
what it saw. At the end the same dates are made in another workspace in which nothing is killed, and:

- every poll saw each date from one run, whole: rows and their hash are those of the undisturbed run;
- a date that was seen once was never missing, and none went back to an earlier run;
- every file has the bytes of the undisturbed run, and nothing else matches the readers' glob.

Most runs are forked from a process that has loaded torch and DuckDB and done nothing with them, so that a
run takes a second; some are `python -m ccf_batch.score` from its start, imports and all.
"""

from __future__ import annotations

import argparse
import calendar
import contextlib
import json
import os
import platform
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from faults import hashes, load_everything

FIRST, DATES, USERS = "1998-03-01", 30, 200
CONFIG = """
[domain]
noun = "movies"
liked_above = 3
[model]
hidden = 32
layers = 1
[score]
rerank = 20
threads = 1
memory_limit = "500MB"
shard_users = 25
[candidates]
factors = 0
linear = 0
text = 0
[checks]
on_failure = "warn"
"""
SETTINGS = {"first": 20, "second": 10, "third": 5}  # top_k of what is published
SIGNALS = (signal.SIGKILL,) * 6 + (signal.SIGTERM,) * 2 + (signal.SIGINT,) * 2
# about how long a run stays there, as a share of all
STAGES = {"start": 0.1, "assembly": 0.3, "loading": 0.3, "scoring": 0.08, "publication": 0.03}
WHERE = [*["anywhere"] * 8, *STAGES, "scoring", *["publication"] * 2]
# what a run has said when it is there; publication is told by what it leaves
SAYS = {"▸ Histories": "assembly", "▸ Bundle": "loading", " shards\n": "scoring"}
FRESH = 0.1  # share of the runs that are processes from their start
READ = """
    SELECT date::VARCHAR, run_id, count(*),
           sum(hash(user_id, item_id, rank, score, margin, source, reason, bundle)::HUGEINT)::VARCHAR
    FROM read_parquet($files, hive_partitioning = true) GROUP BY ALL ORDER BY ALL
"""


# A run, from outside


@dataclass
class Job:
    "A process that scores."

    pid: int
    log: Path
    code: int | None = None

    def poll(self) -> int | None:
        "Its exit code, negative where a signal ended it; None while it is alive."
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(0.001)
        return self.code

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def start(workspace: Path, log: Path, *flags: str, fresh: bool = False) -> Job:
    "Score: in a fork of this process, or in a process of its own."
    argv = ["--config", str(workspace / "ccf.toml"), "--show-users", "0", *flags]
    log.unlink(missing_ok=True)
    # whatever is sent meanwhile comes when the child can tell that it is the child
    stops = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
        return Job(pid, log)
    code = 1
    try:
        # a shell's background jobs ignore it, and so would what they start
        signal.signal(signal.SIGINT, signal.SIG_DFL if fresh else signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        if fresh:
            os.execv(sys.executable, [sys.executable, "-m", "ccf_batch.score", *argv])
        from ccf_batch import score
        from ccf_batch.base import console

        code = console.main(score.ScoreCommand, score.run, "score", argv=argv)
        sys.stdout.flush()
    except KeyboardInterrupt:  # before the command could say so itself
        code = 130
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def stage(job: Job, ranked: Path, date: str, before: bytes | None) -> str:
    "How far it has come, by what it has said and what lies there."
    said, at = job.said(), "start"
    for words, name in SAYS.items():
        if words in said:
            at = name
    if at == "scoring":
        if about(ranked, date) != before:
            return "after the swap"
        staged = ranked.glob(f"_staging/date={date}/*/output/*_manifest.json*")
        if any(".replaced-" not in str(p) for p in staged):
            return "publication"
    return at


def about(ranked: Path, date: str) -> bytes | None:
    "The manifest of a date."
    try:
        return (ranked / f"date={date}/_manifest.json").read_bytes()
    except FileNotFoundError:
        return None


# The reader


def read(con, ranked: Path) -> dict[str, list[tuple]]:
    "What readers see of each date: (run, rows, hash of the rows); more than one is a mixture."
    seen: dict[str, list[tuple]] = {}
    for date, *what in con.execute(READ, {"files": f"{ranked}/date=*/*.parquet"}).fetchall():
        seen.setdefault(date, []).append(tuple(what))
    return seen


@dataclass
class Watch:
    "What a reader has seen."

    polls: int = 0
    before_the_first: int = 0  # polls that found nothing yet
    errors: int = 0  # clean ones: a file went while it was read
    mixtures: int = 0
    words: list[str] = field(default_factory=list)  # what must not be, each once
    states: Counter = field(default_factory=Counter)  # (date, run, rows, hash)
    changes: list[tuple] = field(default_factory=list)  # seconds, date, run
    now: dict[str, tuple] = field(default_factory=dict)

    def wrong(self, said: str) -> None:
        if said not in self.words:
            self.words.append(said)

    def look(self, con, ranked: Path, began: float) -> None:
        import duckdb

        self.polls += 1
        try:
            seen = read(con, ranked)
        except duckdb.IOException as e:
            if "No files found" in str(e) and not self.now:
                self.before_the_first += 1
            elif "No such file" in str(e):
                self.errors += 1
            else:
                self.wrong(f"a reader failed: {e}")
            return
        except duckdb.Error as e:
            self.wrong(f"a reader failed: {e}")
            return
        for date in self.now.keys() - seen.keys():
            self.wrong(f"{date} was gone")
        for date, found in seen.items():
            self.states.update((date, *what) for what in found)
            if len(found) > 1:
                self.mixtures += 1
                self.wrong(f"{date} was a mixture: {found}")
            elif self.now.get(date) != found[0]:
                if (was := self.now.get(date)) and was[0] == found[0][0]:
                    self.wrong(f"{date} of one run was seen in two states")
                self.changes.append((round(time.monotonic() - began, 2), date, found[0][0]))
                self.now[date] = found[0]


def watch(ranked: Path, out: Path, began: float) -> int:
    "Poll in a process of its own until SIGTERM, then write down what was seen; its pid."
    pid = os.fork()
    if pid:
        return pid
    try:
        import duckdb

        going = [True]
        signal.signal(signal.SIGTERM, lambda *_: going.clear())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        seen, con = Watch(), duckdb.connect(config={"threads": "1"})
        while going:
            seen.look(con, ranked, began)
            time.sleep(0.01)
        seen.look(con, ranked, began)
        said = {**vars(seen), "states": [[*k, n] for k, n in sorted(seen.states.items())]}
        out.write_text(json.dumps(said))
        os._exit(0)
    finally:
        os._exit(1)


# The month


@dataclass
class Soak:
    "A month in the making."

    workspace: Path
    logs: Path
    dice: random.Random
    began: float
    typical: dict[bool, list[float]] = field(default_factory=lambda: {False: [2.0], True: [8.0]})
    kills: list[dict] = field(default_factory=list)
    published: list[tuple] = field(default_factory=list)  # date, which settings
    finished: int = 0
    resumed: int = 0  # finished runs that took over shards of one that was killed
    fresh: int = 0
    words: list[str] = field(default_factory=list)

    @property
    def ranked(self) -> Path:
        return self.workspace / "ranked"

    def moment(self, job: Job, date: str, before: bytes | None, fresh: bool) -> None:
        "Wait until it is time to kill."
        took = sorted(self.typical[fresh])[len(self.typical[fresh]) // 2]
        where = self.dice.choice(WHERE)
        if where == "anywhere":
            time.sleep(self.dice.uniform(0, took))
            return
        order = [*STAGES, "after the swap"]
        while job.poll() is None:
            if order.index(stage(job, self.ranked, date, before)) >= order.index(where):
                time.sleep(self.dice.uniform(0, took * STAGES[where]))
                return
            time.sleep(0.0005)

    def attempt(self, date: str, which: str, flags: list[str], kill: bool) -> bool:
        "One run, killed or not; whether it came to its end."
        fresh = self.dice.random() < FRESH
        self.fresh += fresh
        before, began = about(self.ranked, date), time.monotonic()
        job = start(self.workspace, self.logs / "run.log", "--date", date, *flags, fresh=fresh)
        if kill:
            self.moment(job, date, before, fresh)
        if kill and job.poll() is None:
            sent = self.dice.choice(SIGNALS)
            os.kill(job.pid, sent)
            code = job.wait()
            allowed = {
                signal.SIGKILL: (-9,),
                signal.SIGTERM: (143, -15),
                signal.SIGINT: (130, -2),
            }[sent]
            if code in allowed:
                self.kills.append(
                    {
                        "second": round(time.monotonic() - self.began, 2),
                        "date": date,
                        "settings": which,
                        "signal": sent.name,
                        "stage": stage(job, self.ranked, date, before),
                        "fresh": fresh,
                        "files": hashes(self.ranked, f"date={date}/*.parquet"),
                    }
                )
                return False
            if code != 0:
                said = f"{date}: {sent.name} gave exit code {code}: {job.said()[-1500:]}"
                self.words.append(said)
                return False
        code = job.wait()
        if code:
            self.words.append(f"{date}: a run failed ({code}): {job.said()[-1500:]}")
            raise SystemExit(self.words[-1])
        if not kill:
            self.typical[fresh].append(time.monotonic() - began)
        self.finished += 1
        manifest = json.loads(about(self.ranked, date))
        self.resumed += any(s["attempt"] < manifest["attempts"] for s in manifest["shards"])
        return True

    def make(self, date: str, which: str, kills: int) -> None:
        "Publish a date, being killed so many times before."
        again = any(date == d for d, _ in self.published)
        flags = ["--top-k", str(SETTINGS[which]), *(["--overwrite"] if again else [])]
        self.published.append((date, which))
        while kills and not self.attempt(date, which, flags, kill=True):
            kills -= 1
        if not kills:
            self.attempt(date, which, flags, kill=False)


def schedule(dates: list[str], dice: random.Random) -> list[tuple[str, str]]:
    "Each date once, in order, and in between every third time one that is there is replaced."
    there, out, turn = [], [], dict.fromkeys(dates, 0)
    for n, date in enumerate(dates):
        out.append((date, "first"))
        there.append(date)
        if n % 3 == 2:
            out.append(replaced(there, turn, dice))
    return out


def replaced(there: list[str], turn: dict[str, int], dice: random.Random) -> tuple[str, str]:
    "A date that was published, and settings that it has not had yet."
    left = [date for date in there if turn[date] < len(SETTINGS) - 1]
    date = dice.choice(left)
    turn[date] += 1
    return date, list(SETTINGS)[turn[date]]


def soak(prepared: Path, dates: list[str], kills: int, seed: int = 0) -> dict:
    "Do it all; what happened, and in `words` what must not."
    from ccf_batch.base.console import progress

    began = time.monotonic()
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
        top = Path(folder)
        # copies with their times: these are a part of a run's fingerprint
        here = shutil.copytree(prepared, top / "soak")
        clean = shutil.copytree(prepared, top / "clean")
        (here / "ranked").mkdir()
        run = Soak(here, top, dice, began)
        reader = watch(run.ranked, top / "seen.json", began)
        try:
            plan = schedule(dates, dice)
            with progress("kills", kills, "kill") as bar:
                done = 0
                while plan or len(run.kills) < kills:
                    if not plan:  # too many runs ended before they could be killed
                        turn = Counter(d for d, _ in run.published)
                        turn = {d: turn[d] - 1 for d in dates}
                        plan.append(replaced(dates, turn, dice))
                    left = max(0, kills - len(run.kills))
                    fair = -(-left // len(plan))
                    run.make(*plan.pop(0), kills=dice.randint(fair // 2, fair + fair // 2 + 1))
                    bar.update(min(kills, len(run.kills)) - done)
                    done = min(kills, len(run.kills))
            killed_s = time.monotonic() - began
            time.sleep(0.1)
        finally:
            os.kill(reader, signal.SIGTERM)
            code = os.waitpid(reader, 0)[1]
        assert code == 0, "the reader died"
        seen = json.loads((top / "seen.json").read_text())
        whole = undisturbed(clean, dates, run.published, top)
        return judged(run, seen, whole, dates, killed_s)


@dataclass
class Whole:
    "What undisturbed runs make: files with their hashes, and what a reader sees of them."

    files: dict[tuple[str, str], dict[str, str]]
    seen: dict[tuple[str, str], tuple]


def undisturbed(clean: Path, dates: list[str], published: list[tuple], top: Path) -> Whole:
    "Make all that was published, each kind of settings in a folder of its own."
    import duckdb

    files, seen = {}, {}
    for which, top_k in SETTINGS.items():
        made = [d for d in dates if (d, which) in published]
        flags = ["--top-k", str(top_k), "--paths.ranked", which]
        if made == dates:
            spans = [["--dates", f"{dates[0]}..{dates[-1]}"]]
        else:
            spans = [["--date", date] for date in made]
        for span in spans:
            job = start(clean, top / "clean.log", *flags, *span)
            assert job.wait() == 0, job.said()
        found = read(duckdb.connect(), clean / which) if made else {}
        for date in made:
            files[date, which] = hashes(clean / which, f"date={date}/*.parquet")
            (seen[date, which],) = found[date]
    return Whole(files, seen)


def judged(run: Soak, seen: dict, whole: Whole, dates: list[str], killed_s: float) -> dict:
    "Compare what was seen and what is there with the undisturbed runs."
    words = run.words + seen["words"]
    complete = {(d, *what) for (d, _), what in whole.seen.items()}
    for date, run_id, rows, digest, n in seen["states"]:
        if (date, run_id, rows, digest) not in complete:
            words.append(f"{date} was seen {n} times as no run has made it: {run_id}, {rows} rows")
    names = {(d, what[0]): which for (d, which), what in whole.seen.items()}
    order = {}
    for date, which in run.published:
        order.setdefault(date, []).append(which)
    changes = [[t, d, names.get((d, run_id), run_id)] for t, d, run_id in seen["changes"]]
    for date, expected in order.items():
        got = iter(expected)
        if not all(which in got for _, d, which in changes if d == date):
            words.append(f"{date} went back to an earlier run")
    for kill in run.kills:
        files, date = kill.pop("files"), kill["date"]
        found = [w for (d, w), made in whole.files.items() if d == date and made == files]
        kill["then"] = found[0] if found else "nothing"
        if files and not found:
            words.append(f"{date}: after a kill there was neither the old nor the new")
    different = 0
    for date in dates:
        last = order[date][-1]
        final = hashes(run.ranked, f"date={date}/*.parquet")
        different += final != whole.files[date, last]
    there = {path.split("/")[0] for path in hashes(run.ranked, "date=*/*.parquet")}
    if there != {f"date={d}" for d in dates}:
        words.append("something that is no date matches the readers' glob")
    sizes = {len(made) for made in whole.files.values()}
    return {
        "machine": processor(),
        "dates": len(dates),
        "rows": sum(whole.seen[d, order[d][-1]][1] for d in dates),
        "files": sorted(sizes),
        "replaced": len(run.published) - len(dates),
        "runs": {"finished": run.finished, "resumed": run.resumed, "fresh": run.fresh},
        "killed": dict(Counter(kill["signal"] for kill in run.kills)),
        "polls": seen["polls"],
        "reader_errors": seen["errors"],
        "before_the_first": seen["before_the_first"],
        "mixtures": seen["mixtures"],
        "different": different,
        "words": words,
        "seconds": {"killed": round(killed_s), "all": round(time.monotonic() - run.began)},
        "kills": run.kills,
        "changes": changes,
    }


def processor() -> str:
    "Name and cores."
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


# What there is to score


def span(first: str, n: int) -> list[str]:
    import datetime as dt

    start = dt.date.fromisoformat(first)
    return [str(start + dt.timedelta(days=k)) for k in range(n)]


def command(module, settings, name: str, workspace: Path, *flags: str) -> None:
    "A command in a fork, so that this process stays without threads; it must succeed."
    from faults import child

    from ccf_batch.base import console

    argv = ["--config", str(workspace / "ccf.toml"), *flags]

    def work():
        if console.main(settings, module.run, name, argv=argv):
            raise SystemExit(1)

    assert child(work, say=True) == 0, name


def trained(workspace: Path, until: str, steps: int) -> None:
    "Train a model that has learned little."
    from ccf_batch import train

    flags = ["--date", until, "--train.max-steps", str(steps), "--train.max-examples", "4000"]
    command(train, train.TrainCommand, "train", workspace, *flags)


def tiny_one(workspace: Path) -> str:
    "A lake and a model made in seconds; the first date."
    from tiny import CONFIG as TINY
    from tiny import write_workspace

    more = 'memory_limit = "500MB"\nshard_users = 15\nrerank = 8\n[candidates]\nfactors = 0\nlinear = 0\ntext = 0\n'
    workspace.mkdir()
    write_workspace(workspace, TINY + more + '[checks]\non_failure = "warn"\n')
    trained(workspace, "2026-02-20", steps=4)
    return "2026-02-20"


def ml_100k(shared: Path, workspace: Path, seed: int) -> str:
    "A lake of some users who were there before the first date, and a model; the first date."
    from ccf_batch import ingest

    source = workspace / "source"
    source.mkdir(parents=True)
    for name in ("ml-100k.item", "ml-100k.user"):
        shutil.copyfile(shared / "ml-100k" / name, source / name)
    head, *rows = (shared / "ml-100k/ml-100k.inter").read_text().splitlines()
    users = [row.split("\t")[0] for row in rows]
    cutoff = calendar.timegm(time.strptime(FIRST, "%Y-%m-%d"))
    early = {u for u, row in zip(users, rows, strict=True) if float(row.split("\t")[3]) < cutoff}
    chosen = set(random.Random(seed).sample(sorted(early), USERS))
    kept = [row for u, row in zip(users, rows, strict=True) if u in chosen]
    (source / "ml-100k.inter").write_text("\n".join([head, *kept]) + "\n")
    (workspace / "ccf.toml").write_text(CONFIG)
    command(ingest, ingest.IngestCommand, "ingest", workspace, "--source", str(source))
    trained(workspace, FIRST, steps=30)
    return FIRST


def main(argv: list[str] | None = None) -> int:
    here = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--dates", type=int, default=DATES)
    parser.add_argument("--seed", type=int, default=0)
    default = Path(os.environ.get("CCF_SHARED", here.parent / "shared")) / "data"
    parser.add_argument("--tiny", action="store_true", help="made-up data, a model of seconds")
    parser.add_argument("--shared", type=Path, default=default, help="the folder with ml-100k/")
    args = parser.parse_args(argv)
    load_everything()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        workspace = Path(folder, "prepared")
        if args.tiny:
            data, first = "made up", tiny_one(workspace)
        else:
            data, first = f"ml-100k, {USERS} users", ml_100k(args.shared, workspace, args.seed)
        found = soak(workspace, span(first, args.dates), args.kills, args.seed)
    found = {"data": data, "seed": args.seed, **found}
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    brief = {k: v for k, v in found.items() if k not in ("kills", "changes")}
    print(json.dumps(brief, indent=1))
    return int(bool(found["words"] or found["different"]))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(main())
