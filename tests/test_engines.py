"Which engine is taken, and what is said where the one asked for is not there."

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from ccf_batch import console, engines, score
from ccf_batch.settings import SettingsError, load


@pytest.fixture
def without_vllm(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "vllm" else find(n, *a)
    )


def test_an_engine_that_is_missing_is_not_replaced(without_vllm, tmp_path, capsys):
    config = tiny.write_workspace(tmp_path)
    argv = ["--config", str(config), "--engine", "vllm"]
    assert console.main(score.ScoreCommand, score.run, "score", argv=argv) == 2
    said = capsys.readouterr().err
    assert "vLLM is not installed" in said and "pip install 'ccf_batch[vllm]'" in said
    assert not (tmp_path / "ranked").exists()


def test_how_much_faster_is_what_was_measured():
    file = Path(__file__).parents[1] / "benchmarks/results/injection.json"
    rows = json.loads(file.read_text())["rows"]
    ratios = [r["packed_times_as_fast"] for r in rows if r["injection"] == "embedding rows"]
    assert min(ratios) > 1  # else `auto` must choose by shape
    assert engines.FASTER == f"{min(ratios):.1f} to {max(ratios):.1f} times"


def test_auto_is_packed_and_says_why(without_vllm):
    choice = engines.choose(load(score.ScoreCommand, None, []))
    assert choice.name == "packed" and "measured" in choice.reason and not choice.versions


@pytest.mark.parametrize("flag", ["--engine", "--score.engine"])
def test_both_flags_and_the_file_set_the_engine(flag, tmp_path):
    assert load(score.ScoreCommand, None, [flag, "packed"]).score.engine == "packed"
    (tmp_path / "ccf.toml").write_text('[score]\nengine = "vllm"\n')
    assert load(score.ScoreCommand, tmp_path / "ccf.toml").score.engine == "vllm"
    with pytest.raises(SettingsError, match=r"score\.engine.*'auto', 'vllm' or 'packed'"):
        load(score.ScoreCommand, None, [flag, "fast"])


def test_vllm_is_imported_by_nobody_who_did_not_ask():
    code = (
        "import sys, json, ccf_batch.score, ccf_batch.engines, ccf_batch.serving, ccf_batch.vllm_engine;"
        "print(json.dumps('vllm' in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) is False
