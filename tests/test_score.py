"`score`: streaming, resuming, states of a date, and the command from end to end."

import datetime as dt
import errno
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import stand_in as stand_in_bundle
import torch

from ccf_batch import score
from ccf_batch.base.console import progress
from ccf_batch.base.errors import InputError
from ccf_batch.data.batch import Batch, Catalogue
from ccf_batch.data.ranked import Calibration, date_folder, row_schema
from ccf_batch.night import publish, scoring, summary
from ccf_batch.night.run import Run, fingerprint_run, locked

DAY = dt.date(2026, 7, 1)
ITEMS, CANDIDATES = 50, 8


class Assembly:
    "Users 0 … n−1 in shards of so many, each with the same number of candidates; made as they are asked for."

    def __init__(self, users, per_shard=100):
        self.users, self.per_shard, self.date = users, per_shard, DAY
        self.shards = -(-users // per_shard)

    def batches(self, shard, users=1024):
        first, end = shard * self.per_shard, min((shard + 1) * self.per_shard, self.users)
        for start in range(first, end, users):
            n = min(users, end - start)
            ids = np.arange(start, start + n)
            rows = (ids[:, None] * 7 + np.arange(CANDIDATES)[None] * 3) % ITEMS
            source = np.array(["popular", "covisited"])[rows.ravel() % 2]
            yield Batch(
                user_id=pa.array(ids),
                history=np.repeat(ids % ITEMS, 2).astype(np.int32),
                history_offsets=np.arange(n + 1) * 2,
                candidate=rows.ravel().astype(np.int32),
                candidate_offsets=np.arange(n + 1) * CANDIDATES,
                source=pa.array(source).dictionary_encode(),
            )


class Scorer:
    "A margin that is a function of user and item alone; the pair (u, 0) is over the budget."

    engine_name, dtype, dtype_reason, notes = "fake", "float32", "a test", ()

    def __init__(self, token_budget=8192, fail=None):
        self.token_budget, self.fail = token_budget, fail

    def score(self, batch):
        if self.fail and self.token_budget > self.fail:
            raise torch.OutOfMemoryError("no room")
        user = np.asarray(batch.user_id)[batch.group_of]
        margin = np.sin(user * 12.9898 + batch.candidate * 78.233).astype(np.float32) * 4
        margin[batch.candidate == 0] = np.nan
        c = len(margin)
        return SimpleNamespace(
            margin=margin,
            tokens=30 * c,
            tokens_unshared=150 * c,
            tokens_least=30 * c,
            cold_users=1,
            cold_items=2,
        )

    def close(self):
        pass


def rank(con, margins, assembly, settings, calibration):
    "The five best of each user, by margin; a stand-in for `rules.rank`."
    total, margins = len(margins), margins.filter(pc.invert(pc.is_nan(margins["margin"])))
    user, row, margin = (margins[k].to_numpy() for k in ("user_id", "item_row", "margin"))
    order = np.lexsort((row, -margin, user))
    user = user[order]
    place = np.arange(len(user)) - np.searchsorted(user, user) + 1
    keep, n = place <= 5, int((place <= 5).sum())
    order = order[keep]
    table = pa.table(
        {
            "user_id": user[keep],
            "item_id": pa.array(row[order].astype(np.int64)),
            "rank": pa.array(place[keep].astype(np.int32)),
            "score": pa.array((1 / (1 + np.exp(-margin[order]))).astype(np.float32)),
            "margin": pa.array(margin[order]),
            "source": margins["source"].take(pa.array(order)),
            "reason": pa.repeat(pa.scalar("scored"), n),
        }
    )
    return table, {"no_margin": total - len(margins), "top_k": len(margins) - n}


def night(assembly, fail=None, s=None):
    settings = s or score.ScoreCommand()
    make = lambda catalogue, budget: Scorer(budget, fail)  # noqa: E731
    ids = pa.array(np.arange(ITEMS))
    nothing = np.zeros(ITEMS)
    catalogue = Catalogue(ids, ids.cast(pa.string()), ids, nothing == 0, nothing)
    return scoring.Night(
        settings, None, assembly, catalogue, make, Calibration(1.0, 0.0), "b1", "r1"
    )


def go(root, assembly, fail=None):
    fp = fingerprint_run(DAY, [], "b1", score.ScoreCommand())
    with locked(root, DAY), progress("pairs", None) as bar:
        n = night(assembly, fail)
        run = Run(root, DAY, fp, {})
        scoring.score_shards(n, run, bar)
        assert bar.n == assembly.users * CANDIDATES
        return publish.publish(run, assembly.shards, {}), n


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(scoring, "rules", SimpleNamespace(rank=rank))


def content(root):
    return {p.name: p.read_bytes() for p in (root / f"date={DAY}").glob("*.parquet")}


def test_rows_are_sorted_whole_and_counted(tmp_path, stand_in):
    manifest, _ = go(tmp_path, Assembly(250))
    shards = [pq.read_table(p) for p in sorted((tmp_path / f"date={DAY}").glob("*.parquet"))]
    assert len(shards) == 3
    rows = pa.concat_tables(shards)
    assert rows.schema.names == row_schema(pa.int64(), pa.int64()).names
    assert len(set(rows["user_id"].to_pylist())) == 250
    user, place, margin = (rows[k].to_numpy() for k in ("user_id", "rank", "margin"))
    assert (np.diff(user) >= 0).all()
    same = np.diff(user) == 0
    assert (np.diff(place)[same] == 1).all() and (place[np.r_[True, ~same]] == 1).all()
    assert (np.diff(margin)[same] <= 0).all() and not np.isnan(margin).any()
    assert 0 not in rows["item_id"].to_pylist()  # rejected pairs are dropped, and counted:
    counts = sum((Counter(shard["counts"]) for shard in manifest["shards"]), Counter())
    rejected = sum(
        int((b.candidate == 0).sum()) for k in range(3) for b in Assembly(250).batches(k)
    )
    assert counts["removed_no_margin"] == rejected > 0
    assert counts["users"] == 250 and counts["pairs"] == 250 * CANDIDATES
    assert counts["removed_top_k"] == 250 * CANDIDATES - rejected - len(rows)
    assert counts["rows"] == manifest["rows"] == len(rows)
    for shard in manifest["shards"]:
        assert {"assembling", "scoring", "rules", "writing"} <= shard["seconds"].keys()


def test_dying_in_any_shard_changes_no_byte(tmp_path, stand_in, monkeypatch):
    go(tmp_path / "whole", Assembly(450))
    real = scoring.score_shard
    for dies_at in range(5):
        root = tmp_path / str(dies_at)

        def shard(night, run, number, columns, bar, dies_at=dies_at):
            if number == dies_at:
                raise KeyboardInterrupt
            real(night, run, number, columns, bar)

        monkeypatch.setattr(scoring, "score_shard", shard)
        with pytest.raises(KeyboardInterrupt):
            go(root, Assembly(450))
        assert content(root) == {}
        monkeypatch.setattr(scoring, "score_shard", real)
        manifest, _ = go(root, Assembly(450))
        assert content(root) == content(tmp_path / "whole")
        assert manifest["attempts"] == 2


def test_out_of_memory_halves_the_budget_and_starts_the_shard_again(tmp_path, stand_in, capsys):
    go(tmp_path / "whole", Assembly(250))
    quarter = score.ScoreCommand().score.token_budget // 4
    _, n = go(tmp_path / "small", Assembly(250), fail=quarter)
    assert n.token_budget == quarter
    assert content(tmp_path / "small") == content(tmp_path / "whole")
    assert capsys.readouterr().out.count("out of memory") == 2
    with pytest.raises(InputError, match="memory is too small"):
        go(tmp_path / "none", Assembly(250), fail=1)


def test_what_is_expected_comes_from_real_users(stand_in):
    real, n = Scorer.score, night(Assembly(2000))

    def slow(self, batch):  # 2 ms a block and 20 us a pair
        time.sleep(2e-3 + 2e-5 * len(batch.candidate))
        return real(self, batch)

    n.scorer.score = slow.__get__(n.scorer)
    timing, seconds = scoring.estimate_seconds(n, {"users": 2000, "pairs": 2000 * CANDIDATES})
    assert timing.work.pairs == CANDIDATES * timing.work.users and timing.blocks > 8
    # all that the scorer does, and what rules and a busy machine add
    calls = 20 * (2e-3 + 2e-5 * 100 * CANDIDATES)
    assert 0.8 * calls < seconds < 5 * calls
    # the same users in another order: not the first ones of the shard
    assert n.sample[0].user_id.to_pylist() != list(range(100))
    assert sorted(n.sample[0].user_id.to_pylist()) == list(range(100))


def test_a_run_spends_a_share_of_itself_on_what_to_expect(stand_in):
    few = {"users": 10, "pairs": 10 * CANDIDATES}
    assert scoring.estimate_seconds(night(Assembly(10)), few, share=0.0, least_s=0.0) is None
    taken, n = [], night(Assembly(2000))
    real = n.scorer.score
    n.scorer.score = lambda batch: taken.append(len(batch)) or time.sleep(0.01) or real(batch)
    many = {"users": 10**6, "pairs": 10**6 * CANDIDATES}
    scoring.estimate_seconds(n, many, share=1e-5, least_s=0.0)  # of 10⁶ users at 10 ms: 0.1 s
    assert 3 <= len(taken) < 40


def test_running_out_of_memory_before_the_first_shard(stand_in, capsys):
    n = night(Assembly(2000), fail=score.ScoreCommand().score.token_budget // 2)
    estimate = scoring.estimate_seconds(n, {"users": 2000, "pairs": 2000 * CANDIDATES})
    assert estimate is not None and capsys.readouterr().out.count("out of memory") == 1


_PEAK = """
import resource, sys
sys.path.insert(0, {tests!r})
import test_score as t
from types import SimpleNamespace
from pathlib import Path
t.scoring.rules = SimpleNamespace(rank=t.rank)
t.go(Path(sys.argv[1]), t.Assembly(int(sys.argv[2]), per_shard=20_000))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_users(tmp_path):
    code = _PEAK.format(tests=str(Path(__file__).parent))
    peak = {}
    for users in (20_000, 200_000):
        out = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / str(users)), str(users)],
            capture_output=True,
            text=True,
            check=True,
        )
        peak[users] = int(out.stdout.split()[-1])
    # ten times the users (1.6 million pairs, a million rows): within the allocators' noise
    assert peak[200_000] - peak[20_000] < 40, peak


def test_text():
    assert summary.duration(59.96) == "1 min 00 s" and summary.duration(3.21) == "3.2 s"
    assert summary.saved_tokens(25, 100) == "25 (sharing prefixes saved 75, 75%)"
    assert "'/a/o''b/date=2026-07-01/*.parquet'" in summary.duckdb_query(
        date_folder(Path("/a/o'b"), DAY)
    )


# The command: real tables, assembly, rules and publication, the stand-in for the bundle.

NIGHT = "2025-07-01"  # the day after the sample ends


@pytest.fixture
def ws(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(stand_in_bundle, "SLEEP_S", 0)
    ws = shutil.copytree(sample, tmp_path / "w")
    with (ws / "ccf.toml").open("a") as f:
        f.write("\n[score]\nshard_users = 200\n")
        f.write("[candidates]\nfactors = 0\nlinear = 0\n")
    return ws


def command(ws, *flags):
    return stand_in_bundle.main(["--config", str(ws / "ccf.toml"), *flags])


def files(ws, folder=f"ranked/date={NIGHT}"):
    return {p.name: p.read_bytes() for p in (ws / folder).glob("*")}


def rows_of(found):
    return {name: data for name, data in found.items() if name.endswith(".parquet")}


def test_a_night(ws, capsys):
    assert command(ws) == 0
    out = capsys.readouterr().out
    # the query that is printed works as it is
    pasted = re.search(r"FROM read_parquet.*;", out)[0]
    assert len(duckdb.execute(pasted).fetchall()) == 20
    assert "packed engine (auto: " in out and "float32 (a stand-in)" in out
    assert "Top 5 movies of 3 users" in out and "sharing prefixes saved" in out
    manifest = json.loads(files(ws)["_manifest.json"])
    users, rows, most, least = duckdb.execute(
        """SELECT count(DISTINCT user_id), count(*), max(n), min(n) FROM (
            SELECT user_id, count(*) OVER (PARTITION BY user_id) AS n FROM read_parquet($files))""",
        {"files": f"{ws}/ranked/date=*/*.parquet"},
    ).fetchone()
    assert manifest["counts"]["users"] >= users > 500 and manifest["rows"] == rows
    assert most == 20 and 0 < least <= 20
    for key in (
        "inputs",
        "bundle",
        "settings",
        "seed",
        "versions",
        "engine",
        "machine",
        "prepared",
    ):
        assert manifest[key] or key == "seed"
    assert manifest["date"] == NIGHT and manifest["attempts"] == 1
    stages = {"preparing", "checks", "loading", "assembling", "scoring", "rules", "writing"}
    assert stages == set(manifest["seconds"])
    # every row is of the items and users of the lake, unseen, and in the order of its margin
    wrong = duckdb.execute(
        """SELECT count(*) FROM read_parquet($files) AS r
        LEFT JOIN read_parquet($items) AS i USING (item_id)
        LEFT JOIN read_parquet($seen) AS s ON s.user_id = r.user_id AND s.item_id = r.item_id
        WHERE i.item_id IS NULL OR s.item_id IS NOT NULL""",
        {
            "files": f"{ws}/ranked/date=*/*.parquet",
            "items": f"{ws}/lake/items/*.parquet",
            "seen": f"{ws}/lake/interactions/date=*/*.parquet",
        },
    ).fetchone()
    assert wrong == (0,)


def test_a_path_is_not_a_pattern(ws, capsys):
    odd = ws.rename(ws.with_name("it's [a] *"))
    assert command(odd) == 0
    out = capsys.readouterr().out
    assert "Top 5 movies of 3 users" in out
    pasted = re.search(r"FROM read_parquet.*;", out)[0]
    assert len(duckdb.execute(pasted).fetchall()) == 20


def test_again_with_nothing_changed_is_done_at_once(ws, capsys, monkeypatch):
    assert command(ws) == 0
    before = files(ws)
    monkeypatch.setattr(
        stand_in_bundle.bundle, "load_first_stage", lambda *where: 1 / 0
    )  # no model is loaded
    assert command(ws) == 0
    assert "is published already, from the same" in capsys.readouterr().out
    assert files(ws) == before


def test_from_something_else_needs_overwrite(ws, capsys):
    assert command(ws) == 0
    before = files(ws)
    assert command(ws, "--top-k", "7") == 2
    err = capsys.readouterr().err
    assert "top_k (20 → 7)" in err and "--overwrite" in err
    assert files(ws) == before
    assert command(ws, "--top-k", "7", "--overwrite") == 0
    assert rows_of(files(ws)) != rows_of(before)
    assert json.loads(files(ws)["_manifest.json"])["settings"]["top_k"] == 7


def test_overwrite_makes_the_same_bytes_again(ws):
    assert command(ws) == 0
    before = files(ws)
    assert command(ws, "--overwrite") == 0
    assert rows_of(files(ws)) == rows_of(before) and files(ws) != before


def test_a_damaged_date_is_made_again(ws, capsys):
    assert command(ws) == 0
    before = rows_of(files(ws))
    next((ws / f"ranked/date={NIGHT}").glob("*.parquet")).unlink()
    assert command(ws) == 0
    assert "missing or cut short" in capsys.readouterr().out
    assert rows_of(files(ws)) == before
    (ws / f"ranked/date={NIGHT}/_manifest.json").unlink()
    assert command(ws) == 2
    assert "no manifest that can be read" in capsys.readouterr().err


def test_shards_and_batches_do_not_matter_to_a_users_rows(ws):
    query = "SELECT user_id, item_id, rank, margin FROM read_parquet($p) ORDER BY ALL"
    seen = []
    for users in ("200", "10000"):
        assert command(ws, "--overwrite", "--score.shard-users", users) == 0
        seen.append(duckdb.execute(query, {"p": f"{ws}/ranked/date=*/*.parquet"}).fetchall())
    assert seen[0] == seen[1]


def test_a_trial_is_never_published(ws, capsys):
    assert command(ws, "--limit-users", "40") == 0
    assert not list(ws.glob("ranked/date=*"))
    found = rows_of(files(ws, f"trials/date={NIGHT}"))
    assert found and f"{ws}/trials/date={NIGHT}" in capsys.readouterr().out
    users = "SELECT count(DISTINCT user_id) FROM read_parquet($p)"
    assert duckdb.execute(users, {"p": f"{ws}/trials/*/*.parquet"}).fetchone()[0] <= 40
    assert command(ws) == 0
    before = files(ws)
    assert command(ws, "--limit-users", "30") == 0  # over the earlier trial, not over the date
    assert files(ws) == before


def test_a_dry_run_writes_nothing(ws, capsys):
    before = sorted(ws.rglob("*"))
    assert command(ws, "--dry-run") == 0
    out = capsys.readouterr().out
    assert sorted(ws.rglob("*")) == before
    for part in ("users", "pairs", "tokens to compute", "estimated time", "nothing was written"):
        assert part in out


def test_nobody_to_score(ws, capsys):
    assert command(ws, "--date", "2024-06-01") == 3
    assert "nobody to score on 2024-06-01" in capsys.readouterr().err
    assert not list(ws.glob("ranked/date=*"))


def test_the_bundle_must_fit(ws, capsys, monkeypatch):
    assert command(ws, "--prompt.history-length", "30") == 2
    err = capsys.readouterr().err
    assert "prompt.history_length (10 → 30)" in err and "train again" in err
    seen = stand_in_bundle.read(ws / "bundles" / "b1")
    seen.trained_until = dt.datetime(2025, 7, 1, 0, 0, 1)
    monkeypatch.setattr(stand_in_bundle.bundle, "read", lambda path: seen)
    assert command(ws) == 2
    assert "has seen what came after 2025-07-01" in capsys.readouterr().err


def test_one_run_for_a_date(ws, capsys):
    with locked(ws / "ranked", dt.date.fromisoformat(NIGHT)):
        assert command(ws) == 2
    assert "a run for 2025-07-01 is under way" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error, said",
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (duckdb.IOException("could not write: No space left on device"), "the disk is full"),
        (
            PermissionError(errno.EACCES, "Permission denied", "w/ranked"),
            "w/ranked: this user may not",
        ),
        (OSError(errno.EROFS, "Read-only file system", "w"), "the file system is read-only"),
        (OSError(errno.EIO, "Input/output error", "w/ranked"), "w/ranked: the disk fails"),
        (
            duckdb.OutOfMemoryException("failed to allocate"),
            "score.memory_limit = 4GB is too little",
        ),
    ],
)
def test_what_the_machine_lacks(ws, capsys, monkeypatch, error, said):
    def fail(*args, **kw):
        raise error

    monkeypatch.setattr(scoring, "score_shards", fail)
    assert command(ws) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(ChildProcessError):  # what is no lack keeps its traceback
        error = ChildProcessError(errno.ECHILD, "no")
        command(ws)


def test_a_lake_that_changes_meanwhile(ws, capsys, monkeypatch):
    real = scoring.score_shards

    def meanwhile(*args):
        real(*args)
        (ws / "lake/items/items.parquet").touch()

    monkeypatch.setattr(scoring, "score_shards", meanwhile)
    assert command(ws) == 2
    assert "was changed while" in capsys.readouterr().err
    assert not list(ws.glob("ranked/date=*"))


def test_no_lake(tmp_path, capsys):
    (tmp_path / "ccf.toml").write_text("")
    assert command(tmp_path) == 2
    assert "ccf_batch.ingest" in capsys.readouterr().err


def many_users(ws, users):
    "A lake of `users` people with 30 events each on 5,000 items, within the month before the night."
    for folder in ("items", "interactions/date=2025-06-30"):
        (ws / "lake" / folder).mkdir(parents=True)
    con = duckdb.connect()
    con.execute(
        """COPY (SELECT i AS item_id, 'Item ' || i AS title,
            MAP {'genres': ['Drama']}::MAP(VARCHAR, VARCHAR[]) AS attributes
            FROM range(5000) AS r(i)) TO $path""",
        {"path": str(ws / "lake/items/items.parquet")},
    )
    con.execute(
        """COPY (SELECT u AS user_id, (5000 * (hash(u, k) % 10000 / 10000) ** 3)::BIGINT AS item_id,
            1::TINYINT AS label, TIMESTAMP '2025-06-30' + to_seconds(k * 60) AS event_ts
            FROM range($users) AS a(u), range(30) AS b(k)) TO $path""",
        {"users": users, "path": str(ws / "lake/interactions/date=2025-06-30/events.parquet")},
    )
    (ws / "ccf.toml").write_text(
        '[score]\nmemory_limit = "1GB"\nthreads = 1\nrerank = 30\nshard_users = 5_000\n'
        "[candidates]\nlinear = 0\nfactors = 0\ntext = 0\nall_neighbours = 0\n"  # slow, one row a user
    )


@pytest.mark.slow
def test_memory_of_the_whole_command_does_not_grow_with_users(tmp_path):
    peak, seconds = {}, {}
    for users in (10_000, 50_000):
        ws = tmp_path / str(users)
        many_users(ws, users)
        stand_in_py = str(Path(stand_in_bundle.__file__))
        flags = ["--config", str(ws / "ccf.toml"), "--date", NIGHT]
        subprocess.run([sys.executable, stand_in_py, *flags], check=True, capture_output=True)
        manifest = json.loads(files(ws)["_manifest.json"])
        assert manifest["counts"]["users"] == users
        peak[users] = manifest["cost"]["peak_rss_mb"]
        seconds[users] = manifest["seconds"]
    print(peak, seconds)
    # five times the users: no more than the noise of DuckDB's buffers, whose limit is 1 GB
    assert peak[50_000] - peak[10_000] < 200, peak
