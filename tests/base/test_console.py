"Entry points: exit codes and where messages go."

import os
import signal
import threading

import pytest

from ccf_batch.base.console import main, table
from ccf_batch.base.errors import InputError, NothingToDo
from ccf_batch.data.database import connect
from ccf_batch.night import backfill
from ccf_batch.settings import Settings


class Command(Settings):
    "Do a thing."

    what: str = "nothing"
    """Which thing."""


def run_with(raises):
    def run(settings):
        if raises:
            raise raises

    return run


@pytest.mark.parametrize(
    "raises, code",
    [
        (None, 0),
        (InputError("x.csv: row 3"), 2),
        (NothingToDo("no users"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(raises, code, capsys):
    assert main(Command, run_with(raises), "prog", missing_ok=True, argv=[]) == code
    err = capsys.readouterr().err
    if isinstance(raises, Exception):
        assert err == f"prog: {raises}\n"


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        main(Command, run_with(ZeroDivisionError()), "prog", missing_ok=True, argv=[])


@pytest.mark.usefixtures("sigint_stops")
@pytest.mark.parametrize("sent, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_in_the_middle_of_a_query(sent, code, capsys):
    tried = []

    def long(date):
        tried.append(date)
        threading.Timer(0.1, os.kill, (os.getpid(), sent)).start()
        query = "SELECT sum(hash(a + b)) FROM range(1000000) a(a), range(1000000) b(b)"
        connect(threads=2).execute(query)

    def run(settings):
        backfill.score_dates(backfill.parse_date_range("2026-07-01..2026-07-03"), long)

    assert main(Command, run, "prog", missing_ok=True, argv=[]) == code
    assert len(tried) == 1  # DuckDB makes a RuntimeError of it, which is no date that failed
    assert "prog: stopped" in capsys.readouterr().err


def test_settings_errors_are_a_line_each(tmp_path, capsys):
    bad = tmp_path / "ccf.toml"
    bad.write_text("top_k = 0\nnope = 1\n")
    assert main(Command, run_with(None), "prog", argv=["--config", str(bad)]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert len(out.err.splitlines()) == 2


@pytest.mark.parametrize("flags", [["--config"], ["--config="], ["--config", "gone.toml"]])
def test_config_that_is_not_there(flags, capsys):
    assert main(Command, run_with(None), "prog", argv=flags) == 2
    assert capsys.readouterr().err


def help_of(command, flag, capsys):
    with pytest.raises(SystemExit) as e:
        main(command, run_with(None), "prog", argv=[flag])
    assert e.value.code == 0
    return capsys.readouterr().out


def test_help_teaches(capsys):
    out = help_of(Command, "--help", capsys)
    assert out.startswith("Do a thing.")
    assert "--what" in out and "Which thing." in out
    assert "[prompt]" in out and "How a user and a candidate are written as words" in out
    assert "--config" in out and "--help-all" in out and "2 bad input" in out
    assert "--prompt.history-length" not in out
    out = help_of(Command, "--help-all", capsys)
    assert "--prompt.history-length" in out and "Liked items in the prompt" in out
    assert "--what" in out and "--config" in out


def test_a_cell_cannot_drive_the_terminal(capsys):
    table("t", ["item"], [["\x1b]0;title\x07\x1b[2J\x9b1m[bold]x[/]"]])
    out = capsys.readouterr().out
    assert not set("\x1b\x07\x9b") & set(out)
    assert "[bold]x[/]" in out


def test_a_bar_in_a_log_is_lines(capsys):
    from ccf_batch.base import console

    bar = console.progress("pairs", 10, "pair")
    bar.delay, bar.mininterval, bar.miniters = 0, 0, 1
    for _ in range(3):
        bar.update(1)
    bar.close()
    err = capsys.readouterr().err
    assert "\r" not in err
    assert [line.split(":")[0] for line in err.splitlines()] == ["  pairs"] * len(err.splitlines())
    assert "pair/s" in err
