"A few nights with kills and a reader, so that the soak of the documentation cannot rot."

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soak


@pytest.mark.slow
def test_three_nights(tmp_path):
    out = tmp_path / "soak.json"
    flags = ["--tiny", "--dates", "3", "--kills", "5", "--out", str(out)]
    done = subprocess.run([sys.executable, soak.__file__, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(out.read_text())
    assert not found["words"] and found["mixtures"] == found["different"] == 0
    assert len(found["kills"]) == sum(found["killed"].values()) >= 5
    assert found["dates"] == 3 and found["replaced"] >= 1
    assert found["polls"] > 20 and len(found["changes"]) >= 3  # the reader was there


def test_a_reader_tells_a_mixture(tmp_path):
    "What the soak counts as wrong is found where it is."
    import duckdb

    con, ranked = duckdb.connect(), tmp_path / "ranked"

    def write(date, run, name, rows=2):
        folder = ranked / f"date={date}"
        folder.mkdir(parents=True, exist_ok=True)
        columns = "1 AS item_id, 1 AS rank, 0.5 AS score, 0 AS margin, '' AS source, '' AS reason, '' AS bundle"
        con.execute(
            f"COPY (SELECT range AS user_id, {columns}, '{run}' AS run_id FROM range({rows})) "  # noqa: S608
            f"TO '{folder / name}'"
        )

    seen = soak.Watch()
    seen.look(con, ranked, 0)
    assert seen.before_the_first == 1 and not seen.words
    write("2026-07-01", "a", "1.parquet")
    write("2026-07-02", "a", "1.parquet")
    seen.look(con, ranked, 0)
    assert not seen.words and len(seen.changes) == 2
    write("2026-07-01", "b", "2.parquet")
    seen.look(con, ranked, 0)
    assert "2026-07-01 was a mixture" in seen.words[-1]
    Path(ranked / "date=2026-07-01/1.parquet").unlink()
    write("2026-07-02", "a", "1.parquet", rows=3)
    seen.look(con, ranked, 0)
    assert "2026-07-02 of one run was seen in two states" in seen.words[-1]
    Path(ranked / "date=2026-07-01/2.parquet").unlink()
    seen.look(con, ranked, 0)
    assert seen.words[-1] == "2026-07-01 was gone" and len(seen.words) == 3
