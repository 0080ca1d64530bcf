"Every command: what its help says, how its flags are read, and the one program that has them all."

import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from ccf_batch import __main__ as program
from ccf_batch import __version__
from ccf_batch.backtest import BacktestCommand
from ccf_batch.base.settings_file import load, merge_trees
from ccf_batch.evaluate import EvaluateCommand
from ccf_batch.experiment import ExperimentCommand
from ccf_batch.ingest import IngestCommand
from ccf_batch.runs import RunsCommand
from ccf_batch.score import ScoreCommand
from ccf_batch.settings import Flags, Settings, SettingsError
from ccf_batch.train import TrainCommand

CLASSES = {
    "ingest": IngestCommand,
    "train": TrainCommand,
    "score": ScoreCommand,
    "evaluate": EvaluateCommand,
    "runs": RunsCommand,
    "experiment": ExperimentCommand,
    "backtest": BacktestCommand,
}
every_command = pytest.mark.parametrize("name, cls", CLASSES.items(), ids=list(CLASSES))


def keys(cls, above=""):
    "Each key of a tree, as a flag has it."
    for name, field in cls.model_fields.items():
        key = f"{above}{name.replace('_', '-')}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{key}.")
        else:
            yield key


def printed(name, flag, capsys, monkeypatch):
    "What a command prints that only says something of itself."
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        program.main([name, flag])
    assert stop.value.code == 0
    out, err = capsys.readouterr()
    assert not err
    return out


def words(text):
    return {word.strip(",") for word in text.split()}


# Help


def test_the_program_knows_every_command():
    assert list(program.COMMANDS) == list(CLASSES)
    for name, cls in CLASSES.items():
        assert program.COMMANDS[name] == (cls.__doc__ or "").partition("\n")[0]


@every_command
def test_help_fits_and_names_each_flag_of_the_command(name, cls, capsys, monkeypatch):
    out = printed(name, "--help", capsys, monkeypatch)
    lines = out.splitlines()
    assert lines[0] == program.COMMANDS[name] and len(lines) <= 60
    own = set(cls.model_fields) - set(Settings.model_fields)
    assert own
    for field in own:
        assert field.upper() in words(out) or f"--{field.replace('_', '-')}" in words(out), field
    assert {"--help", "--help-all"} <= words(out)
    assert ("--config" in words(out)) == issubclass(cls, Settings)
    assert f"ccf-batch {name}" in out and "exit codes: 0 ok" in out
    for key in cls.reads or set(cls.model_fields) & set(Settings.model_fields):
        assert f"[{key}]" in words(out) or key in words(out)
    assert "--cf.content" not in out


@every_command
def test_help_all_has_every_key_of_the_tree(name, cls, capsys, monkeypatch):
    out = printed(name, "--help-all", capsys, monkeypatch)
    missing = [k for k in keys(cls) if f"--{k}" not in words(out) and k.upper() not in words(out)]
    assert not missing
    assert len(list(keys(cls))) > 60 or not issubclass(cls, Settings)


@every_command
def test_examples_are_command_lines_that_it_takes(name, cls):
    assert cls.examples and set(cls.reads) <= set(Settings.model_fields)
    for example in cls.examples:
        assert isinstance(load(cls, None, shlex.split(example)), cls)


def test_help_in_a_narrow_or_a_wide_terminal(capsys, monkeypatch):
    for columns in ("20", "80", "1000"):
        with monkeypatch.context() as m, pytest.raises(SystemExit):
            m.setenv("COLUMNS", columns)
            importlib.import_module("ccf_batch.score").command(["--help"])
        assert 20 < len(capsys.readouterr().out.splitlines()) <= 60


# What is imported


def loaded(code):
    "The modules that a process has in the end."
    code = f"import sys\ntry:\n    {code}\nfinally:\n    print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return set(done.stdout.splitlines()[-1].split())


BASE = Path(__file__).resolve().parents[1] / "ccf_batch" / "base"
HEAVY = {"torch", "transformers", "scipy", "sklearn", "vllm", "peft"}


@pytest.mark.parametrize(
    "module",
    ["settings", *(f"base.{f.stem}" for f in sorted(BASE.glob("[!_]*.py")))],
)
def test_what_any_program_needs_loads_no_numbers(module):
    there = loaded(f"import ccf_batch.{module}")
    assert f"ccf_batch.{module}" in there
    assert not there & (HEAVY | {"numpy", "pyarrow", "duckdb"})


def test_settings_know_nothing_of_the_package():
    there = {name for name in loaded("import ccf_batch.settings") if name.startswith("ccf_batch")}
    assert there == {"ccf_batch", "ccf_batch.settings"}


@pytest.mark.parametrize("name", CLASSES)
def test_help_loads_no_model(name):
    there = loaded(f"from ccf_batch import __main__ as m; m.main(['{name}', '--help'])")
    assert f"ccf_batch.{name}" in there and not there & HEAVY


def test_listing_the_commands_imports_none():
    there = loaded("from ccf_batch import __main__ as m; m.main(['--help'])")
    assert "ccf_batch.base.errors" in there
    assert not there & ({f"ccf_batch.{name}" for name in CLASSES} | HEAVY | {"numpy", "pydantic"})


# The one program


def test_both_ways_to_call_it():
    run = [sys.executable, "-m"]
    done = [
        subprocess.run([*run, *how, "verify"], capture_output=True, text=True, check=False)
        for how in (["ccf_batch", "runs"], ["ccf_batch.runs"])
    ]
    assert [d.returncode for d in done] == [2, 2]
    one, two = (d.stderr.partition(": ") for d in done)
    assert one[2] == two[2] and one[0] == "python -m ccf_batch runs"


def test_version_list_and_a_command_that_is_none(capsys):
    assert program.main(["--version"]) == 0
    assert capsys.readouterr().out == f"ccf-batch {__version__}\n"
    assert program.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out and text in out for name, text in program.COMMANDS.items())
    assert program.main([]) == 2
    assert capsys.readouterr().err == out
    assert program.main(["scroe", "--help"]) == 2
    assert "'scroe': there is no such command; did you mean score?" in capsys.readouterr().err
    assert program.main(["--date", "score"]) == 2
    assert "there are ingest, train" in capsys.readouterr().err


# Booleans and names


@pytest.mark.parametrize(
    "flags, content, overwrite",
    [
        (["--cf.content", "false"], False, False),
        (["--cf.content=No"], False, False),
        (["--cf.content", "0", "--overwrite", "yes"], False, True),
        (["--no-cf.content", "--overwrite"], False, True),
        (["--cf.content"], True, False),
        (["--overwrite", "--date", "2026-07-01"], True, True),
        (["--overwrite", "false", "--cf.content", "TRUE"], True, False),
        (["--cf.content", "false", "--cf.content", "true"], True, False),
        (["--overwrite", "--no-cf.content"], False, True),
    ],
)
def test_booleans(flags, content, overwrite):
    settings = load(ScoreCommand, None, flags)
    assert (settings.cf.content, settings.overwrite) == (content, overwrite)


BOOLEANS = {
    True: ("1", "true", "t", "yes", "y", "on"),
    False: ("0", "false", "f", "no", "n", "off"),
}
SPELLED = st.sampled_from([*BOOLEANS[True], *BOOLEANS[False], "tru", "2", "None"])


@given(st.text().filter(lambda text: text[:1] != "-") | SPELLED | SPELLED.map(str.title))
def test_a_boolean_is_what_pydantic_says_or_an_error_with_the_flag(text):
    known = [value for value, all_of in BOOLEANS.items() if text.lower() in all_of]
    try:
        found = [load(Settings, None, ["--cf.history", text]).cf.history]
    except SettingsError as e:
        assert str(e).startswith("--cf.history = ") and len(str(e).splitlines()) == 1
        found = []
    assert found == known


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--overwrite", "maybe"], "--overwrite = 'maybe': input should be true or false"),
        (["--cf.content="], "--cf.content = '': input should be true or false"),
        (
            ["--no-cf.content", "false"],
            "--no-cf.content = 'false': takes no value; write --cf.content",
        ),
        (["--no-cf.content=1"], "--no-cf.content = '1': takes no value"),
    ],
)
def test_booleans_that_are_none(flags, said):
    with pytest.raises(SettingsError) as e:
        load(ScoreCommand, None, flags)
    assert str(e.value).startswith(said)


def test_an_argument_after_a_boolean_flag_is_no_value_of_it():
    settings = load(RunsCommand, None, ["--dry-run", "prune", "--older-than", "3d"])
    assert (settings.action, settings.dry_run) == ("prune", True)
    settings = load(RunsCommand, None, ["--dry-run", "no", "prune"])
    assert (settings.action, settings.dry_run) == ("prune", False)


def test_names_stay_as_they_are_typed():
    names = ["MF, weekly", 'so-called "model"', "[a]", "1", "naïve"]
    flags = ["plan.toml", "--only", *names, "--quick", "--shared", "x"]
    assert load(ExperimentCommand, None, flags).only == names
    flags = ["p", "--only=a, b", "--shared", "x", "--only", "c"]
    assert load(ExperimentCommand, None, flags).only == ["a, b", "c"]
    with pytest.raises(SettingsError, match="--only: expected at least one"):
        load(ExperimentCommand, None, ["p", "--shared", "x", "--only", "--quick"])


@given(st.recursive(st.integers(), lambda t: st.dictionaries(st.sampled_from("abc"), t)))
def test_merging_with_nothing_changes_nothing(tree):
    tree = tree if isinstance(tree, dict) else {"a": tree}
    assert merge_trees(tree, {}) == tree == merge_trees({}, tree) == merge_trees(tree, tree)


# Experiments are commands as the others


def test_a_command_without_a_tree_has_none_of_its_flags(tmp_path):
    flags = ["plan.toml", "--shared", "x"]
    for flag in ("--top-k", "--cf.content", "--config"):
        with pytest.raises(SettingsError, match="there is no such flag"):
            load(ExperimentCommand, None, [*flags, flag, "1"])
    assert not issubclass(ExperimentCommand, Settings) and issubclass(ExperimentCommand, Flags)
    command = load(ExperimentCommand, None, flags)
    assert (command.plan, command.shared, command.quick) == (Path("plan.toml"), Path("x"), False)


@pytest.mark.parametrize("sent, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("name", ["experiment", "backtest"])
def test_an_experiment_is_stopped_and_logged_as_any_command(
    name, sent, code, tmp_path, monkeypatch, capsys
):
    def slow(*_):
        os.kill(os.getpid(), sent)
        threading.Event().wait(10)

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job
        monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
    entry = importlib.import_module(f"ccf_batch.{name}")
    monkeypatch.setattr(entry, "read_plan" if name == "experiment" else "is_list_plan", slow)
    log = tmp_path / "log.jsonl"
    flags = ["plan.toml", "--shared", "x", "--operation.log", str(log)]
    assert entry.command(flags) == code
    assert f"python -m ccf_batch.{name}: stopped" in capsys.readouterr().err
    start, end = (json.loads(line) for line in log.read_text().splitlines())
    assert start["command"] == end["command"] == name
    assert (start["stage"], end["exit_code"]) == ("start", code)
