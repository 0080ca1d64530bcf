#!/usr/bin/env bash
# Build the wheel, install it in a folder of its own and run an entry point from there: sql/ must
# travel in it. The heavy dependencies come from the environment of $1, the package does not.
set -euo pipefail
python=$(realpath -s "$1")
root=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$root"
"$python" -m build --wheel --outdir "$tmp" . >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$tmp/site" "$tmp"/*.whl
cd "$tmp"
export PYTHONPATH="$tmp/site"
"$python" - "$tmp/site" "$root/sql" <<'PY'
import pathlib, sys
import ccf_batch.data.database as d
site, sql = map(pathlib.Path, sys.argv[1:])
assert pathlib.Path(d.__file__).is_relative_to(site), d.__file__
names = [str(p.relative_to(sql).with_suffix("")) for p in sql.rglob("*.sql")]
d.statement.cache_clear()
for name in names:
    assert d.statement(name) == (sql / f"{name}.sql").read_text(), name
print(f"the wheel holds all {len(names)} statements")
PY
[ -f "$tmp/site/ccf_batch/py.typed" ] || { echo "the wheel lacks ccf_batch/py.typed"; exit 1; }
for entry in ingest train score evaluate runs experiment backtest; do
  start=$(date +%s%N)
  "$python" -m ccf_batch.$entry --help >/dev/null
  echo "python -m ccf_batch.$entry --help: $(( ($(date +%s%N) - start) / 1000000 )) ms"
done
"$python" -m ccf_batch --version
"$python" -m ccf_batch --help >/dev/null
grep -qx 'ccf-batch = ccf_batch.__main__:main' "$tmp"/site/ccf_batch-*.dist-info/entry_points.txt
