"Settings: file under flag under nothing, and every mistake in plain words."

import datetime as dt

import pytest

from ccf_batch.base.settings_file import load
from ccf_batch.settings import Settings, SettingsError


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "ccf.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def mistakes(*args, **kwargs):
    with pytest.raises(SettingsError) as e:
        load(*args, **kwargs)
    return str(e.value)


def test_flag_over_file_over_default(toml):
    path = toml("top_k = 7\n[prompt]\nhistory_length = 3\ntitle_tokens = 9\n")
    s = load(Settings, path, ["--prompt.history-length", "4", "--candidates.exclude-seen", "none"])
    assert (s.top_k, s.prompt.history_length, s.prompt.title_tokens) == (7, 4, 9)
    assert s.prompt.max_tokens == Settings().prompt.max_tokens
    assert s.candidates.exclude_seen == "none"


def test_paths_are_taken_from_the_files_folder(toml):
    path = toml('[paths]\nranked = "/elsewhere/ranked"\n')
    s = load(Settings, path)
    assert s.lake == path.parent / "lake"
    assert str(s.ranked) == "/elsewhere/ranked"


def test_lists_and_maps(toml):
    path = toml('[ingest]\ncolumns = { user_id = "customer" }\n')
    s = load(Settings, path, ["--attributes.categorical", "genres,author"])
    assert s.ingest.columns == {"user_id": "customer"}
    assert s.attributes.categorical == ["genres", "author"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("top_k = 0", ["ccf.toml: top_k = 0", "greater than or equal to 1"]),
        ("topk = 5", ["ccf.toml: topk", "did you mean 'top_k'?"]),
        ("[prompt]\ntemplate = 'fulll'", ["prompt.template = 'fulll'", "'full'", "'compact'"]),
        ("[prompt]\nxyz = 1", ["prompt.xyz", "known here: template"]),
        ("[domain]\nzone = 'Europe/Pariss'", ["domain.zone", "Europe/Paris"]),
        ("prompt = 3", ["ccf.toml: prompt = 3"]),
        ("top_k = ", ["ccf.toml", "not valid TOML", "Invalid value"]),
        ("date = 2026-01-01", ["ccf.toml: date", "no such setting"]),
    ],
)
def test_a_mistake_in_the_file(toml, text, words):
    message = mistakes(Settings, toml(text))
    assert all(w in message for w in words), message


def test_all_mistakes_at_once(toml):
    assert (
        len(mistakes(Settings, toml("top_k = 0\n[cf]\nfolds = 1\nfactor = 2\n")).splitlines()) == 3
    )


def test_not_text(tmp_path):
    (tmp_path / "ccf.toml").write_bytes(b"noun = '\xff'")
    assert "not UTF-8" in mistakes(Settings, tmp_path / "ccf.toml")


def test_no_file(tmp_path):
    assert "no such file" in mistakes(Settings, tmp_path / "ccf.toml")
    assert load(Settings, tmp_path / "ccf.toml", missing_ok=True).top_k == 20


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--top-k", "0"], ["--top-k = '0'"]),
        (["--top_k", "5"], ["--top_k", "did you mean --top-k?"]),
        (["--prompt.history-length", "many"], ["--prompt.history-length = 'many'", "integer"]),
        (["--prompt.template"], ["--prompt.template", "expected one argument"]),
        (["surplus"], ["surplus", "--help"]),
    ],
)
def test_a_mistake_in_a_flag(flags, words):
    message = mistakes(Settings, None, flags)
    assert all(w in message for w in words), message


@pytest.mark.parametrize(
    "zone, date, utc",
    [
        ("UTC", dt.date(2026, 3, 1), dt.datetime(2026, 3, 1)),
        ("Europe/Paris", dt.date(2026, 3, 29), dt.datetime(2026, 3, 28, 23)),  # clocks go forward
        ("Europe/Paris", dt.date(2026, 3, 30), dt.datetime(2026, 3, 29, 22)),
        (
            "America/Sao_Paulo",
            dt.date(2018, 11, 4),
            dt.datetime(2018, 11, 4, 3),
        ),  # no midnight then
        ("Pacific/Kiritimati", dt.date(2026, 1, 1), dt.datetime(2025, 12, 31, 10)),
    ],
)
def test_cutoff(zone, date, utc):
    assert Settings(domain={"zone": zone}).cutoff(date) == utc


def test_saved_is_json_and_loads_again():
    import json

    s = Settings(top_k=3, domain={"noun": "books"})
    assert Settings.model_validate(json.loads(json.dumps(s.saved()))) == s


def test_the_environment_does_not_reach_in(monkeypatch):
    monkeypatch.setenv("TOP_K", "1")
    monkeypatch.setenv("PROMPT__HISTORY_LENGTH", "1")
    assert load(Settings, None).top_k == 20
