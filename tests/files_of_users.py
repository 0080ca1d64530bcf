"Files of users in a workspace, an ingest of them, and what it wrote."

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from ccf_batch import ingest
from ccf_batch.base import console
from ccf_batch.base.settings_file import load


def put(work, **files):
    "Write files; `events_csv` becomes events.csv, a name with a dot stays. Text is UTF-8, bytes are bytes."
    for name, content in files.items():
        content = content.encode() if isinstance(content, str) else content
        file = name if "." in name else name.replace("_", ".")
        (work / "data" / file).write_bytes(content)


def run(work, *flags, toml=None):
    if toml is not None:
        (work / "ccf.toml").write_text(toml)
    flags = ["--source", str(work / "data"), *flags]
    return ingest.run(load(ingest.IngestCommand, work / "ccf.toml", flags, missing_ok=True))


def exit_code(work, *flags):
    flags = ["--config", str(work / "ccf.toml"), *flags]
    return console.main(ingest.IngestCommand, ingest.run, "ingest", missing_ok=True, argv=flags)


def rows(work, table, order=("user_id", "item_id", "event_ts")):
    folder = work / "lake" / table
    found = ds.dataset(folder, partitioning="hive").to_table().to_pylist()
    keys = [k for k in order if found and k in found[0]]
    return sorted(found, key=lambda r: tuple(str(r[k]) for k in keys))


def rejects(work, folder="lake/rejects"):
    table = pq.read_table(work / folder / "rejects.parquet")
    names = ["input", "file", "row", "kind", "field", "value", "reason", "kept"]
    assert table.schema.names == names
    assert table.schema.field("row").type == pa.int64()
    return table.to_pylist()


def attributes(row):
    return dict(row["attributes"])
