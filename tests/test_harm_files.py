"Files that somebody has meddled with: settings, manifests, what a run left. Never a traceback, nothing lost."

import datetime as dt
import json
import os
import shutil
import types
import typing
from pathlib import Path

import harm
import pytest
import stand_in
from harm import TEXT, fuzz
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel
from small_runs import DAY, content, fingerprint, go

from ccf_batch import ingest, runs, score
from ccf_batch.base import console
from ccf_batch.base.errors import InputError
from ccf_batch.base.fingerprint import run_id_of
from ccf_batch.base.settings_file import load
from ccf_batch.data.ranked import damage, read_manifest
from ccf_batch.night import preflight, publish, retention
from ccf_batch.settings import Settings, SettingsError

# --- settings ------------------------------------------------------------------------------------


def keys_of(group, prefix=()):
    "Every key of the tree, with its annotation."
    for name, field in group.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation, (*prefix, name))
        else:
            yield (*prefix, name), field.annotation


KEYS = dict(keys_of(Settings))
PATHS = [
    "",
    ".",
    "..",
    "../x",
    "../..",
    "lake",
    "lake/..",
    "ranked",
    "bundles",
    "../w/lake",
    "a\x00b",
]
PATHS += [
    "x" * 300,
    "x/" * 3000,
    "lake/items/items.parquet",
    "~",
    "$HOME",
    "-rf",
    "*",
    "\u202e",
    "ccf.toml",
]
TOML_TEXT = TEXT | st.sampled_from(PATHS)
MOMENTS = st.dates() | st.datetimes(timezones=st.none() | st.just(dt.UTC)) | st.times()
ANYTHING = st.recursive(
    st.one_of(st.booleans(), harm.NUMBER, TOML_TEXT, MOMENTS),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(TOML_TEXT, v, max_size=2),
    max_leaves=4,
)


def toml(value) -> str:
    "A value as TOML writes it."
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=True) if value.isascii() else quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value)  # int; float: nan, inf and 1e+22 are TOML


def quoted(text) -> str:
    plain = (c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(plain)}"'


def document(values) -> str:
    "A TOML file that sets keys, each a path in the tree."
    return "".join(f"{'.'.join(map(quoted, path))} = {toml(v)}\n" for path, v in values.items())


def refusal(tmp_path_factory, values) -> tuple[Path, str | None]:
    "A file that sets such keys, and why it is refused; None where it is taken."
    file = tmp_path_factory.mktemp("s") / "ccf.toml"
    file.write_text(document(values), "utf-8")
    try:
        load(score.ScoreCommand, file)
    except SettingsError as e:
        return file, str(e)
    return file, None


@fuzz(150)
@given(st.dictionaries(st.sampled_from(list(KEYS)), ANYTHING, min_size=1, max_size=3))
def test_any_value_of_any_key_is_taken_or_refused_by_name(tmp_path_factory, values):
    harm.TRIED["settings: values"] += 1
    _, why = refusal(tmp_path_factory, values)
    assert why is None or any(".".join(path) in why for path in values), why


@fuzz(60)
@given(st.dictionaries(st.lists(TEXT, min_size=1, max_size=3).map(tuple), ANYTHING, max_size=2))
def test_any_key_is_taken_or_refused(tmp_path_factory, values):
    harm.TRIED["settings: keys"] += 1
    file, why = refusal(tmp_path_factory, values)
    assert str(file) in why if why is not None else not values


@fuzz(60)
@given(st.binary(max_size=60) | st.sampled_from([b"a=" + b"[" * 20_000, b"a." * 9_000 + b"b=1"]))
def test_any_bytes_are_settings_or_refused(tmp_path_factory, data):
    harm.TRIED["settings: bytes"] += 1
    file = tmp_path_factory.mktemp("s") / "ccf.toml"
    file.write_bytes(data)
    try:
        load(score.ScoreCommand, file)
    except SettingsError as e:
        assert str(file) in str(e)


def flag_text(path, value) -> list[str]:
    text = toml(value) if not isinstance(value, str) else value
    return ["--" + ".".join(path).replace("_", "-"), text.replace("\x00", "")]


FLAGS = {
    **KEYS,
    **{(n,): f.annotation for n, f in score.ScoreCommand.model_fields.items() if (n,) not in KEYS},
}


@fuzz(80)
@given(st.dictionaries(st.sampled_from(list(FLAGS)), ANYTHING | st.just("\udcff"), max_size=3))
def test_any_flag_is_taken_or_refused(tmp_path_factory, values):
    harm.TRIED["settings: flags"] += 1
    assume(("help",) not in values)
    flags = [word for path, value in values.items() for word in flag_text(path, value)]
    file = tmp_path_factory.mktemp("s") / "ccf.toml"
    try:
        load(score.ScoreCommand, file, flags, missing_ok=True)
    except SettingsError as e:
        assert str(e)


# --- settings that are valid, and the commands that use them ---------------------------------------


def of_type(kind):
    "Values that a key of this type may have."
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(of_type, (k for k in inner if k is not type(None))))
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if origin is list:
        return st.lists(of_type(inner[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(TOML_TEXT, TOML_TEXT, max_size=2)
    small = st.integers(0, 3) | st.integers(1, 10**4)
    return {
        bool: st.booleans(),
        int: small | harm.NUMBER.filter(lambda n: isinstance(n, int)),
        float: st.sampled_from([0.0, 0.5, 1.0, 1e-300, 1e300, float("inf"), float("nan"), -1.0]),
        str: TOML_TEXT | st.sampled_from(["1GB", "1B", "0GB", "-1GB", "UTC", "movies"]),
    }.get(kind, st.sampled_from(PATHS))


# what costs memory or time as it should, or decides whether anything is scored
SPARED = {("score", "threads"), ("model", "base"), ("score", "engine")}
USED = [
    k
    for k in KEYS
    if k[0]
    in (
        "top_k",
        "paths",
        "domain",
        "candidates",
        "users",
        "prompt",
        "score",
        "rules",
        "checks",
        "ingest",
        "attributes",
        "operation",
    )
]
USED = [k for k in USED if k not in SPARED]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    "A workspace in a folder of its own, with a small lake, and things beside it that must stay."
    ws = tmp_path_factory.mktemp("small") / "a" / "w"
    (ws / "data").mkdir(parents=True)
    (ws / "data/events.csv").write_text(
        "user_id,item_id,event_ts,rating\n"
        + "".join(
            f"u{k % 7},i{(k * 5) % 11},2026-05-{1 + k % 28:02d} 10:00:00,{1 + k % 5}\n"
            for k in range(60)
        )
    )
    (ws / "data/items.csv").write_text(
        "item_id,title\n" + "".join(f"i{k},Film {k}\n" for k in range(11))
    )
    (ws / "ccf.toml").write_text(SMALL)
    for folder in (ws.parent, ws, ws / "notes"):
        folder.mkdir(exist_ok=True)
        (folder / "precious.txt").write_text("precious")
    assert ingest_command(ws) == 0
    return ws


SMALL = """\
domain.liked_above = 3
ingest.interactions = "events.csv"
ingest.items = "items.csv"
score.threads = 1
checks.on_failure = "warn"
"""


def ingest_command(ws, *flags):
    argv = ["--config", str(ws / "ccf.toml"), "--source", str(ws / "data"), *flags]
    return console.main(ingest.IngestCommand, ingest.run, "ingest", missing_ok=True, argv=argv)


def copied(small, tmp_path_factory):
    return shutil.copytree(small.parent, tmp_path_factory.mktemp("c") / "a") / "w"


@pytest.mark.parametrize("command", ["ingest", "score"])
@fuzz(20)
@given(data=st.data())
def test_whatever_settings_are_valid_a_command_ends_in_words(
    small, tmp_path_factory, monkeypatch, capsys, command, data
):
    chosen = data.draw(st.lists(st.sampled_from(USED), min_size=1, max_size=2, unique=True))
    values = {path: data.draw(of_type(KEYS[path])) for path in chosen}
    harm.TRIED[f"settings: used by {command}"] += 1
    monkeypatch.setattr(stand_in, "SLEEP_S", 0)
    ws = copied(small, tmp_path_factory)
    given_here = {".".join(path) for path in values}
    kept = [x for x in SMALL.splitlines() if x.split(" =")[0] not in given_here]
    (ws / "ccf.toml").write_text("\n".join(kept) + "\n" + document(values), "utf-8")
    kept_lake = content_of(ws / "lake")
    if command == "ingest":
        code = ingest_command(ws)
        if code:
            assert content_of(ws / "lake") == kept_lake
    else:
        code = stand_in.main(["--config", str(ws / "ccf.toml")])
        assert content_of(ws / "lake") == kept_lake
    out = capsys.readouterr()
    assert code in (0, 2, 3, 4), out.err
    assert bool(out.err.strip()) or code == 0
    harm.assert_tame(out.out + out.err)
    for folder in (ws.parent, ws, ws / "notes"):
        assert (folder / "precious.txt").read_text() == "precious", values


def content_of(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


@pytest.mark.parametrize("lake", [".", "..", "../..", "", "notes", "ranked", "bundles", "data"])
def test_ingest_replaces_nothing_but_a_lake(small, tmp_path_factory, capsys, lake):
    "An old lake is removed when a new one takes its place: so it had better be one."
    ws = copied(small, tmp_path_factory)
    for name in ("ranked", "bundles"):
        (ws / name).mkdir(exist_ok=True)
        (ws / name / "precious.txt").write_text("precious")
    before = content_of(ws.parent)
    assert ingest_command(ws, "--paths.lake", lake) == 2
    assert "paths.lake" in capsys.readouterr().err
    assert content_of(ws.parent) == before


@pytest.mark.parametrize("log", ["ccf.toml", "lake/items/items.parquet", "lake", "../precious.txt"])
def test_a_log_is_added_to_nothing_else(small, tmp_path_factory, capsys, log):
    ws = copied(small, tmp_path_factory)
    before = content_of(ws.parent)
    assert ingest_command(ws, "--operation.log", log) == 2
    assert "operation.log" in capsys.readouterr().err
    assert stand_in.main(["--config", str(ws / "ccf.toml"), "--operation.log", log]) == 2
    assert "operation.log" in capsys.readouterr().err
    assert content_of(ws.parent) == before
    for _ in range(2):
        assert ingest_command(ws, "--operation.log", "night.jsonl") == 0


# --- manifests, and what a run left ------------------------------------------------------------------


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    "Published, replaced, unfinished and a trial."
    ws = tmp_path_factory.mktemp("nights")
    (ws / "ccf.toml").write_text("")
    more = {
        "checks": [
            {"check": "a", "value": 0.5, "limit": None, "at_least": False, "ok": True, "note": ""}
        ]
    }
    more |= {"prepared": {"users": 1}, "counts": {"users": 1}, "seconds": {"scoring": 0.5}}
    go(ws / "ranked", fingerprint(bundle="b1"), **more)
    go(ws / "ranked", fingerprint(bundle="b2"), **more)
    go(ws / "ranked", fingerprint(bundle="b3"), stop_after=1)
    go(ws / "trials", fingerprint(limit_users=3), **more)
    return ws


def names_of(nights):
    return sorted(str(p.relative_to(nights)) for p in nights.rglob("*.json"))


def command(ws, *flags):
    return console.main(
        runs.RunsCommand, runs.run, "runs", argv=["--config", str(ws / "ccf.toml"), *flags]
    )


@fuzz(20)
@given(data=st.data())
def test_any_json_in_the_place_of_a_manifest(nights, tmp_path_factory, capsys, data):
    outside = tmp_path_factory.mktemp("m")
    ws = shutil.copytree(nights, outside / "a" / "w")
    (outside / "a" / "precious.txt").write_text("precious")
    name = data.draw(st.sampled_from(names_of(ws)))
    original = json.loads((ws / name).read_bytes())
    (ws / name).write_bytes(data.draw(harm.file_content(original)))
    harm.TRIED["manifests: commands"] += 1
    rows = content(ws / "ranked")
    ids = [p.name for p in (ws / f"ranked/_staging/date={DAY}").iterdir() if p.is_dir()]
    codes = [command(ws), command(ws, "show", str(DAY)), command(ws, "verify", str(DAY))]
    codes += [command(ws, "show", i[:16]) for i in ids]
    codes += [command(ws, "prune", "--older-than", "2d", "--dry-run")]
    age(ws, 400)
    codes += [command(ws, "prune", "--older-than", "52w", "--published")]
    assert set(codes) <= {0, 2, 3, 4}
    out = capsys.readouterr()
    harm.assert_tame((out.out + out.err)[:39_000])
    assert content(ws / "ranked") == rows  # the newest published date stays, always
    assert sorted(p.name for p in outside.rglob("*") if ws not in [p, *p.parents]) == [
        "a",
        "precious.txt",
    ]


def age(ws, days):
    "As if all files had been written so long ago."
    then = dt.datetime.now().timestamp() - days * 86_400
    for path in ws.rglob("*"):
        os.utime(path, (then, then), follow_symlinks=False)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    "The bytes of an uninterrupted run."
    root = tmp_path_factory.mktemp("clean")
    go(root, fingerprint(bundle="b3"))
    return content(root)


@fuzz(40)
@given(data=st.data())
def test_any_json_in_the_place_of_what_a_run_left(nights, clean, tmp_path_factory, data):
    "The next run goes on or starts over, and publishes the bytes of an uninterrupted one."
    ws = shutil.copytree(nights, tmp_path_factory.mktemp("l") / "w")
    name = data.draw(st.sampled_from([n for n in names_of(ws) if n.startswith("ranked")]))
    original = json.loads((ws / name).read_bytes())
    (ws / name).write_bytes(data.draw(harm.file_content(original)))
    harm.TRIED["manifests: resuming"] += 1
    for bundle in ("b3", "b4"):
        with_it = fingerprint(bundle=bundle)
        try:
            preflight.already_published(ws / "ranked", DAY, with_it)
        except InputError as e:
            assert str(DAY) in str(e)
        go(ws / "ranked", with_it)
        if bundle == "b3":
            assert content(ws / "ranked") == clean
    manifest = read_manifest(ws / "ranked", DAY)
    assert preflight.already_published(ws / "ranked", DAY, with_it) == manifest
    assert damage(ws / f"ranked/date={DAY}", manifest) == []
    publish.tidy(ws / "ranked")


def test_a_run_id_is_no_path(nights, tmp_path):
    "A manifest says what is moved where when it is pruned: not out of the staging folder."
    ws = shutil.copytree(nights, tmp_path / "a" / "w")
    for file in [
        *ws.glob("ranked/date=*/_manifest.json"),
        *ws.glob("trials/date=*/_manifest.json"),
    ]:
        about = json.loads(file.read_bytes())
        file.write_text(
            json.dumps(
                about
                | {"run_id": "../../../../../b/x", "published_at": "2025-01-01T00:00:00+00:00"}
            )
        )
    age(ws, 400)
    watched = {p for p in tmp_path.rglob("*") if ws not in [p, *p.parents]}
    made = []
    from ccf_batch.base import atomic

    real, atomic.watcher = atomic.watcher, lambda what, paths: made.extend(paths)
    try:
        assert command(ws, "prune", "--older-than", "52w") == 0
    finally:
        atomic.watcher = real
    assert {p for p in tmp_path.rglob("*") if ws not in [p, *p.parents]} == watched
    assert made and all(ws.resolve() in p.resolve().parents for p in made)
    assert not list(ws.glob("trials/date=*"))


@pytest.mark.parametrize("command_", ["prune", "tidy"])
def test_links_among_staged_runs_are_removed_not_followed(nights, tmp_path, command_):
    ws = shutil.copytree(nights, tmp_path / "w")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious.txt").write_text("precious")
    staged = ws / f"ranked/_staging/date={DAY}"
    (staged / "0123456789abcdef").symlink_to(tmp_path / "outside")
    (staged / "dead").symlink_to(tmp_path / "gone")
    (staged / "notes.txt").write_text("of no run")
    (next(staged.glob("*/output")) / "folder").mkdir()
    age(ws, 400)
    age(tmp_path / "outside", 400)
    if command_ == "prune":
        assert command(ws, "prune", "--older-than", "52w") == 0
    else:
        publish.tidy(ws / "ranked")
    assert not os.path.lexists(staged / "0123456789abcdef")
    assert (tmp_path / "outside/precious.txt").read_text() == "precious"


def test_a_folder_in_the_place_of_a_shard_is_made_way_with(nights, clean, tmp_path):
    ws = shutil.copytree(nights, tmp_path / "w")
    left = ws / f"ranked/_staging/date={DAY}" / run_id_of(fingerprint(bundle="b3"))
    (left / "output/folder/inner").mkdir(parents=True)
    (left / "shard-00001.tmp").mkdir()
    go(ws / "ranked", fingerprint(bundle="b3"))
    assert content(ws / "ranked") == clean
    assert not list((ws / f"ranked/date={DAY}").glob("folder"))


@pytest.mark.parametrize("older", ["9" * 400 + "d", "999999999w", "٣d", "1e3d", "-1d", ""])
def test_no_age_is_too_old_to_be_said(nights, older, capsys):
    code = command(nights, "prune", f"--older-than={older}", "--dry-run")
    assert code == (0 if older == "999999999w" else 2)
    harm.assert_tame(capsys.readouterr().err)


def test_a_folder_is_a_date_only_as_it_is_written_here(nights, tmp_path):
    ws = shutil.copytree(nights, tmp_path / "w")
    for name in ("date=20260701", "date=2026-W27-3"):
        (ws / "ranked" / name).mkdir()
    s = load(Settings, ws / "ccf.toml")
    before = retention.list_runs(load(Settings, nights / "ccf.toml"))
    assert len(retention.list_runs(s)) == len(before)
