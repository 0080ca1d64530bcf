"`score`: streaming, resuming, states of a date, and the command from end to end."

import datetime as dt
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ccf_batch import publish, score
from ccf_batch.assemble import Batch, Catalogue
from ccf_batch.console import InputError, progress

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

    engine_name, dtype, dtype_reason = "fake", "float32", "a test"

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
            cold_users=1,
            cold_items=2,
            rejected=int((batch.candidate == 0).sum()),
        )


def rank(con, margins, assembly, settings):
    "The five best of each user, by margin; a stand-in for `rules.rank`."
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
    return table, {"top_k": len(margins) - n}


def night(assembly, fail=None, s=None):
    settings = s or score.Command()
    model = SimpleNamespace(scorer=lambda catalogue, budget: Scorer(budget, fail))
    ids = pa.array(np.arange(ITEMS))
    nothing = np.zeros(ITEMS)
    catalogue = Catalogue(ids, ids.cast(pa.string()), ids, nothing == 0, nothing)
    return score.Night(settings, None, assembly, catalogue, model, "b1", "r1")


def go(root, assembly, fail=None):
    fp = publish.fingerprint(DAY, [], "b1", score.Command())
    with publish.locked(root, DAY), progress("pairs", None) as bar:
        n = night(assembly, fail)
        run = publish.Run(root, DAY, fp, {})
        score.score_shards(n, run, bar)
        assert bar.n == assembly.users * CANDIDATES
        return publish.publish(run, assembly.shards, {}), n


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setitem(sys.modules, "ccf_batch.rules", SimpleNamespace(rank=rank))
    import ccf_batch

    monkeypatch.setattr(ccf_batch, "rules", sys.modules["ccf_batch.rules"], raising=False)


def content(root):
    return {p.name: p.read_bytes() for p in (root / f"date={DAY}").glob("*.parquet")}


def test_rows_are_sorted_whole_and_counted(tmp_path, stand_in):
    manifest, _ = go(tmp_path, Assembly(250))
    shards = [pq.read_table(p) for p in sorted((tmp_path / f"date={DAY}").glob("*.parquet"))]
    assert len(shards) == 3
    rows = pa.concat_tables(shards)
    assert rows.schema.names == publish.schema(pa.int64(), pa.int64()).names
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
    assert counts["rejected"] == rejected > 0
    assert counts["users"] == 250 and counts["pairs"] == 250 * CANDIDATES
    assert counts["rule top_k"] == 250 * CANDIDATES - rejected - len(rows)
    assert counts["rows"] == manifest["rows"] == len(rows)
    for shard in manifest["shards"]:
        assert {"assembling", "scoring", "rules", "writing"} <= shard["seconds"].keys()


def test_dying_in_any_shard_changes_no_byte(tmp_path, stand_in, monkeypatch):
    go(tmp_path / "whole", Assembly(450))
    real = score.score_shard
    for dies_at in range(5):
        root = tmp_path / str(dies_at)

        def shard(night, run, number, columns, bar, dies_at=dies_at):
            if number == dies_at:
                raise KeyboardInterrupt
            real(night, run, number, columns, bar)

        monkeypatch.setattr(score, "score_shard", shard)
        with pytest.raises(KeyboardInterrupt):
            go(root, Assembly(450))
        assert content(root) == {}
        monkeypatch.setattr(score, "score_shard", real)
        manifest, _ = go(root, Assembly(450))
        assert content(root) == content(tmp_path / "whole")
        assert manifest["attempts"] == 2


def test_out_of_memory_halves_the_budget_and_starts_the_shard_again(tmp_path, stand_in, capsys):
    go(tmp_path / "whole", Assembly(250))
    _, n = go(tmp_path / "small", Assembly(250), fail=2048)
    assert n.token_budget == 2048
    assert content(tmp_path / "small") == content(tmp_path / "whole")
    assert capsys.readouterr().out.count("out of memory") == 2
    with pytest.raises(InputError, match="memory is too small"):
        go(tmp_path / "none", Assembly(250), fail=1)


def test_estimate_scales_what_it_measured(stand_in):
    assembly = Assembly(2000)
    guess = score.estimate(night(assembly), pairs=16_000, probe_s=60)
    assert (
        guess["pairs"] == 16_000 - 64 * CANDIDATES
    )  # all of it but the first block, which warms up
    assert guess["tokens"] == 30 * 16_000 and guess["tokens_unshared"] == 150 * 16_000
    assert 0 < guess["seconds"] < 60
    quick = score.estimate(night(assembly), pairs=16_000, probe_s=0)
    assert quick["pairs"] == 64 * CANDIDATES and quick["tokens"] == 30 * 16_000


_PEAK = """
import resource, sys
sys.path.insert(0, {tests!r})
import test_score as t
from types import SimpleNamespace
from pathlib import Path
import ccf_batch
ccf_batch.rules = sys.modules["ccf_batch.rules"] = SimpleNamespace(rank=t.rank)
t.go(Path(sys.argv[1]), t.Assembly(int(sys.argv[2]), per_shard=20_000))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_users(tmp_path):
    from pathlib import Path

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


def test_text(tmp_path):
    assert score.duration(59.96) == "1 min 00 s" and score.duration(3.21) == "3.2 s"
    assert score.saved_tokens(25, 100) == "25 (sharing prefixes saved 75, 75%)"
    assert "'/a/o''b/date=2026-07-01/*.parquet'" in score.paste(
        publish.place(tmp_path.__class__("/a/o'b"), DAY)
    )
