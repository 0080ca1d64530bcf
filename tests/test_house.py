"The rules of the house: which wing may import which, held over every import, lazy ones included."

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ccf_batch"
GROUND = {"settings", "metrics"}  # imported by all; they import nothing of the package
LEFT_TO_RIGHT = [
    "base",
    "data",
    "cf",
    "lm",
    "candidates",
    "model",
    "night",
    "evaluation",
    "research",
]
BESIDE = [{"cf", "lm"}, {"night", "evaluation"}]
NEVER = {"night": {"cf", "lm", "candidates", "model"}}  # beside what lies to the right


def module_of(file: Path) -> str:
    "Dotted name below the package."
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


MADE = ("__init__.py", "_modidx.py")
FILES = {module_of(f): f for f in sorted(PACKAGE.rglob("*.py")) if f.name not in MADE}
WINGS = {m.partition(".")[0] for m in FILES if "." in m}
ENTRIES = {m for m in FILES if "." not in m} - GROUND


def imported(module: str, text: str) -> set[str]:
    "Modules of the package that a module imports, wherever the import stands."
    inside = module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            origin = inside[: len(inside) - node.level + 1]
        elif (node.module or "").split(".")[0] == "ccf_batch":
            origin = []
        else:
            continue
        path = [*origin, *(node.module or "").removeprefix("ccf_batch").strip(".").split(".")]
        name = ".".join(filter(None, path))
        found |= {f"{name}.{a.name}".strip(".") for a in node.names}
    return {m for m in FILES for f in found if f == m or f.startswith(f"{m}.")}


def broken(module: str, text: str) -> list[str]:
    "The imports of a module that the rules forbid, each with the rule."
    wing = module.split(".")[0]
    said = []
    for other in sorted(imported(module, text)):
        there = other.split(".")[0]
        if module in GROUND:
            said.append(f"{module} imports {other}: the ground imports nothing")
        elif wing not in LEFT_TO_RIGHT or there in GROUND or there == wing:
            continue
        elif there in ENTRIES:
            said.append(f"{module} imports {other}: no wing imports an entry point")
        elif LEFT_TO_RIGHT.index(there) > LEFT_TO_RIGHT.index(wing):
            said.append(f"{module} imports {other}: that wing lies to the right")
        elif {wing, there} in BESIDE or there in NEVER.get(wing, ()):
            said.append(f"{module} imports {other}: {wing} never imports {there}")
    return said


@pytest.mark.parametrize("module", FILES)
def test_no_import_breaks_a_rule(module):
    assert not broken(module, FILES[module].read_text("utf-8"))


@pytest.mark.parametrize(
    "module, line",
    [
        ("data.lake", "from ..model import ccf"),
        ("base.atomic", "def f():\n    from ..data.lake import check"),
        ("cf.mf", "from ..lm.prompt import Prompts"),
        ("night.scoring", "if TYPE_CHECKING:\n    from ccf_batch.model.scorer import Scorer"),
        ("evaluation.outcome", "from ccf_batch.night import publish"),
        ("research.methods", "from ..train import run"),
        ("settings", "from .base import errors"),
    ],
)
def test_one_arrow_too_many_is_seen(module, line):
    text = FILES[module].read_text("utf-8")
    assert not broken(module, text)
    assert len(broken(module, f"{text}\n{line}\n")) == 1


def test_no_two_modules_share_a_name():
    names = Counter(
        m.rpartition(".")[2] for m in FILES if (PACKAGE / m.replace(".", "/")).suffix == ""
    )
    packages = {w for w in LEFT_TO_RIGHT if w in FILES}
    shared = {n for n, count in names.items() if count > 1} - packages
    assert not shared


def test_the_wheel_lists_every_wing():
    listed = re.search(r"^packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert {f"ccf_batch.{w}" for w in WINGS} <= set(re.findall(r'"([\w.]+)"', listed[1]))


def test_the_readme_names_every_module_in_its_wing():
    text = (ROOT / "README.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)/` \|.*\| (.*) \|$", text, re.M))
    for wing in WINGS:
        there = {m.removeprefix(f"{wing}.") for m in FILES if m.startswith(f"{wing}.")}
        assert set(re.findall(r"`(\w+)`", rows[wing])) == there
