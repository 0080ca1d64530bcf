"Keys of cached results: what moves them, and what does not."

import ast
import importlib.metadata
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccf_batch.research import code_key, methods, refits
from ccf_batch.research.code_key import Sources, closure, imports, is_base, read_sources
from ccf_batch.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
HERE = code_key.installed()
HEAVY = {"numpy", "torch", "pyarrow", "duckdb"}
OTHERS = frozenset(methods.METHODS.values()) - {"_model"}
MODEL = closure(
    ["research.methods"],
    code_key.cut(HERE, ("research.methods",), OTHERS),
    {"cf.encoder": "cf.sasrec"},
)
ELSEWHERE = {  # statements that no module runs
    "benchmarks/csv_items": "benchmarks/ingest.py",
    "benchmarks/csv_part": "benchmarks/ingest.py",
    "benchmarks/interactions": "benchmarks/assemble.py",
    "benchmarks/items": "benchmarks/assemble.py",
    "data/database/version": "nbs/api/data/00_database.ipynb",
}


@pytest.fixture
def tree(tmp_path):
    "A copy of the package and of its statements."
    shutil.copytree(ROOT / "ccf_batch", tmp_path / "ccf_batch", ignore=lambda *_: ["__pycache__"])
    shutil.copytree(ROOT / "sql", tmp_path / "sql", ignore=lambda *_: ["__pycache__"])
    return tmp_path


def read(tree: Path) -> Sources:
    return read_sources(tree / "ccf_batch", tree / "sql")


def key(tree: Path, kind: str = "model", encoder: str = "sasrec") -> str:
    return methods.code_of(kind, encoder, sources=read(tree))


def file_of(tree: Path, module: str) -> Path:
    "The file of a module; of a wing, its `__init__.py`."
    place = tree / "ccf_batch" / module.replace(".", "/")
    file = place / "__init__.py" if module in HERE.packages else place.with_suffix(".py")
    assert file.is_file(), file
    return file


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text, f"{file}: holds no {old!r}"
    file.write_text(text.replace(old, new, 1), "utf-8")


def constants(text: str) -> Iterator[ast.Constant]:
    "Whole numbers outside of annotations, asserts and messages."
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign):
            for node in ast.walk(statement):
                if isinstance(node, ast.Constant) and type(node.value) is int:
                    yield node


def with_another_number(text: str) -> str:
    lines = text.splitlines(keepends=True)
    node = next(constants(text))
    line = lines[node.lineno - 1].encode()  # offsets are in bytes
    number = str(node.value + 1).encode()
    lines[node.lineno - 1] = (
        line[: node.col_offset] + number + line[node.end_col_offset :]
    ).decode()
    return "".join(lines)


def test_the_copy_has_the_key_of_the_package(tree):
    assert key(tree) == methods.code_of("model", "sasrec")


NUMBERED = [m for m in MODEL if any(constants(HERE.modules[m]))]


def test_nearly_every_module_of_the_closure_has_a_number_to_change():
    assert set(MODEL) - set(NUMBERED) <= {*HERE.packages, "data.database"}


@pytest.mark.parametrize("module", NUMBERED)
def test_a_constant_in_any_module_of_the_closure_moves_the_key(tree, module):
    before = key(tree)
    file = file_of(tree, module)
    file.write_text(with_another_number(file.read_text("utf-8")), "utf-8")
    assert key(tree) != before


@pytest.mark.parametrize("module", [m for m in MODEL if m])
def test_a_new_line_of_code_in_any_module_of_the_closure_moves_the_key(tree, module):
    before = key(tree)
    with file_of(tree, module).open("a") as f:
        f.write("\nchanged = 0.5\n")
    assert key(tree) != before


@pytest.mark.parametrize(
    "old, new",
    [
        ("pow(count, 0.75)", "pow(count, 1.5)"),
        ("SELECT", "SELECT DISTINCT"),
    ],
)
def test_a_statement_moves_the_key(tree, old, new):
    before = key(tree)
    edit(tree / "sql/data/assemble/negatives.sql", old, new)
    assert key(tree) != before


def test_comments_and_layout_of_a_statement_do_not(tree):
    before = key(tree)
    file = tree / "sql/data/assemble/negatives.sql"
    file.write_text("-- another comment\n\n/* 'and' one */  " + file.read_text().replace(" ", "  "))
    assert key(tree) == before


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("SELECT 1 -- it's one", "SELECT   1", True),
        ("SELECT /* it's\none */ 1", "SELECT 1", True),
        ("SELECT ' -- a'", "SELECT '-- a'", False),
        ("SELECT 'it''s  a'", "SELECT 'it''s a'", False),
        (r"SELECT E'\'  a' AS x", r"SELECT E'\' a' AS x", False),
        ('SELECT "a  b"', 'SELECT "a b"', False),
        ("SELECT $$a  b$$", "SELECT $$a b$$", False),
    ],
)
def test_layout_counts_within_quotes_alone(one, other, same):
    assert (code_key.sql_hash(one) == code_key.sql_hash(other)) is same


@pytest.mark.parametrize("name", ["torch", "numpy", "duckdb", "scipy", "transformers"])
def test_the_version_of_a_library_moves_the_key(monkeypatch, name):
    before, version = methods.code_of("model", "mf"), importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda d: "0.0.1" if d == name else version(d)
    )
    assert methods.code_of("model", "mf") != before


def test_the_version_of_python_moves_the_key(monkeypatch):
    before = methods.code_of("model", "mf")
    monkeypatch.setattr(sys, "version_info", (2, 7, 18))
    assert methods.code_of("model", "mf") != before


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("train.py", '"  the language model added nothing', '"  the language model adds nothing'),
        (
            "model/fit.py",
            "Preparing the language model {settings.model.base}",
            "Loading {settings.model.base}",
        ),
        ("model/fit.py", 'f"  {cf.epochs} epochs', 'f"  {cf.epochs + 0} passes'),
        ("train.py", '">training loss"', '">loss"'),
        ("data/assemble.py", "stands there twice; keep one row", "is there twice"),
        ("data/assemble.py", 'progress("candidates"', 'progress("pairs"'),
        ("research/methods.py", '"Write margins and metadata', '"Write the margins'),
        ("cf/sasrec.py", "import numpy as np", "import numpy as np  # arrays"),
        ("data/batch.py", "\ndef ", "\n# a comment\n\ndef "),
        ("settings.py", "Rows published a user.", "Items that a user gets."),
        ("settings.py", '"""Folder for TensorBoard', '"""A folder for TensorBoard'),
        ("base/settings_file.py", "The settings file; its folder", "A settings file; its folder"),
        ("cf/content.py", "settings: Settings", "settings: object"),
        (
            "base/console.py",
            "print(replace_control_characters(message",
            "print('>', replace_control_characters(message",
        ),
        ("research/methods.py", "__all__ = [", "__all__ = ['nothing', "),
        ("__init__.py", "0.1.0", "0.2.0"),
    ],
)
def test_words_do_not_move_the_key(tree, file, old, new):
    before = key(tree)
    edit(tree / "ccf_batch" / file, old, new)
    assert key(tree) == before


def test_what_is_not_reached_does_not_move_the_key(tree):
    before = {kind: key(tree, kind) for kind in methods.METHODS}
    for module in ("lm.vllm", "score", "lm.checkpoint", "night.rules", "evaluate"):
        with file_of(tree, module).open("a") as f:
            f.write("\nchanged = 0.5\n")
    assert {kind: key(tree, kind) for kind in methods.METHODS} == before


def test_what_only_another_kind_needs_does_not_move_the_key(tree):
    before = {kind: key(tree, kind) for kind in methods.METHODS}
    with (tree / "ccf_batch/evaluation/baselines.py").open("a") as f:
        f.write("\nchanged = 0.5\n")
    moved = {kind for kind in methods.METHODS if key(tree, kind) != before[kind]}
    assert moved == {"baseline"}


@pytest.mark.parametrize(
    "encoder, needs",
    [
        ("mf", {"cf.mf", "cf.encoder", "cf.content"}),
        ("lightgcn", {"cf.lightgcn", "cf.residual", "cf.mf"}),
        ("sasrec", {"cf.sasrec", "cf.residual", "cf.bias_prior", "cf.mf"}),
    ],
)
def test_an_encoder_counts_where_the_settings_name_it(encoder, needs):
    reached = closure(["research.methods"], HERE, {"cf.encoder": f"cf.{encoder}"})
    assert needs <= set(reached)
    assert not {"cf.lightgcn", "cf.sasrec"} - {f"cf.{encoder}"} & set(reached)


@pytest.mark.parametrize(
    "module", ["lm.kernels", "cf.bias_prior", "lm.attention", "settings", "data.database"]
)
def test_modules_that_a_list_forgot_are_reached(module):
    assert module in MODEL


def test_every_kind_has_a_method_and_its_imports_count():
    for kind, method in methods.METHODS.items():
        assert callable(getattr(methods.MethodRunner, method)), kind
    others = frozenset(methods.METHODS.values()) - {"_baseline"}
    left = code_key.cut(HERE, ("research.methods",), others)
    assert "evaluation.compare" in {i.module for i in imports("research.methods", left)}
    assert "probes" not in left.modules["research.methods"].partition("def _features")[0]


def test_classes_of_methods_name_the_modules_that_they_stand_in():
    found = {
        methods.MethodRunner,
        refits.RefitRunner,
        *methods.MethodRunner.__subclasses__(),
        *refits.RefitRunner.__subclasses__(),
    }
    for cls in (cls for cls in found if cls.__module__.startswith("ccf_batch.")):
        places = [c.__module__.removeprefix("ccf_batch.") for c in cls.__mro__ if c is not object]
        assert list(cls.modules) == places


def test_a_replay_has_the_code_of_its_nights_in_its_key(tree):
    for module in ("research.refits", "research.refit_schedule"):
        before = methods.code_of("encoder", "mf", refits.RefitRunner.modules, read(tree))
        with file_of(tree, module).open("a") as f:
            f.write("\nchanged = 0.5\n")
        assert methods.code_of("encoder", "mf", refits.RefitRunner.modules, read(tree)) != before


def test_modules_without_numbers_import_no_library_of_numbers():
    base = [name for name in HERE.modules if is_base(name)]
    assert len(base) >= 6
    for name in base:
        for i in imports(name, HERE):
            if i.own:
                assert is_base(i.module) or i.module in ("", "settings"), (name, i)
            else:
                assert i.module.split(".")[0] not in HEAVY, (name, i)
    assert not HEAVY & {i.module.split(".")[0] for i in imports("settings", HERE)}


@pytest.mark.parametrize(
    "line",
    ["import torch", "def f():\n    from pyarrow import parquet", "import duckdb as d"],
)
def test_a_library_of_numbers_would_be_seen(tree, line):
    with (tree / "ccf_batch/base/records.py").open("a") as f:
        f.write(f"\n{line}\n")
    assert HEAVY & {i.module.split(".")[0] for i in imports("base.records", read(tree))}


def test_every_statement_is_named_by_a_module_or_known_to_be_used_elsewhere():
    named = set().union(*(code_key.statements(m, HERE) for m in HERE.modules))
    assert set(HERE.statements) - named == set(ELSEWHERE)
    for statement, file in ELSEWHERE.items():
        assert statement in (ROOT / file).read_text("utf-8")


# -- imports at any depth, in packages that are made for it ---------------------------------------


def made(**modules: str) -> Sources:
    "Modules by name, `__` for a dot; all that others lie in are packages."
    named = {name.replace("__", "."): text for name, text in modules.items()}
    packages = {"", *(name.rpartition(".")[0] for name in named if "." in name)}
    return Sources({p: "" for p in packages} | named, frozenset(packages), {})


@pytest.mark.parametrize(
    "line, module, attribute",
    [
        ("from ..base import atomic", "base.atomic", ""),
        ("from ..base.atomic import move", "base.atomic", "move"),
        ("from ..base import atomic as disk", "base.atomic", ""),
        ("from . import batch", "data.batch", ""),
        ("from .batch import take", "data.batch", "take"),
        ("from .. import settings", "settings", ""),
        ("from ..settings import Settings", "settings", "Settings"),
        ("from ccf_batch.data import batch", "data.batch", ""),
        ("from ccf_batch.data.batch import take", "data.batch", "take"),
        ("from ccf_batch import settings", "settings", ""),
        ("import ccf_batch.data.batch", "data.batch", ""),
        ("import ccf_batch.data.batch as b", "data.batch", ""),
        ("def f():\n    def g():\n        from .batch import take", "data.batch", "take"),
        ("from .deep.er import x", "data.deep.er", "x"),
    ],
)
def test_an_import_is_resolved(line, module, attribute):
    sources = made(
        settings="", base__atomic="", data__batch="", data__deep__er="", data__deep="",
        data__lake=line,
    )  # fmt: skip
    (found,) = imports("data.lake", sources)
    assert (found.module, found.attribute, found.own) == (module, attribute, True)
    if not is_base(module):
        assert {module, module.rpartition(".")[0], "data"} <= set(closure(["data.lake"], sources))


@pytest.mark.parametrize(
    "line, named",
    [
        ("from . import gone", "ccf_batch.data.gone"),
        ("from .gone import x", "ccf_batch.data.gone"),
        ("from .. import gone", "ccf_batch.gone"),
        ("from ..gone import x", "ccf_batch.gone"),
        ("from ...gone import x", "leads out of the package"),
        ("from ccf_batch import gone", "ccf_batch.gone"),
        ("from ccf_batch.data.gone import x", "ccf_batch.data.gone"),
        ("import ccf_batch.gone", "ccf_batch.gone"),
        ("def f():\n    from .gone import x", "ccf_batch.data.gone"),
        ("import importlib\nimportlib.import_module(name)", "by_name"),
        ("from importlib import import_module\nimport_module(name)", "by_name"),
        ("__import__(name)", "by_name"),
    ],
)
def test_an_unknown_module_is_an_error_that_names_it(line, named):
    with pytest.raises(ValueError, match=named.replace(".", r"\.")):
        closure(["data.lake"], made(data__lake=line))


@pytest.mark.parametrize("roots, by_name", [(["gone"], {}), (["a"], {"gone": "a"})])
def test_so_is_an_unknown_root_or_entry(roots, by_name):
    with pytest.raises(ValueError, match=r"ccf_batch\.gone"):
        closure(roots, made(a=""), by_name)
    with pytest.raises(ValueError, match=r"ccf_batch\.cf\.gone"):
        methods.code_of("model", "gone")
    with pytest.raises(ValueError, match=r"ccf_batch\.gone"):
        methods.code_of("model", "mf", ("gone",))


def test_an_entry_for_a_module_that_loads_nothing_by_name_is_an_error():
    with pytest.raises(ValueError, match="by_name"):
        closure(["a"], made(a="", b=""), {"a": "b"})


@pytest.mark.parametrize("test", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_imports_for_type_checkers_do_not_count(test):
    text = f"if {test}:\n    from . import b\n    from . import gone\nelse:\n    from . import c"
    assert closure(["a"], made(a=text, b="", c="")) == ["", "a", "c"]


def test_a_module_may_move_and_keep_its_key():
    flat = made(a="from . import b\nfrom .c import f\nx = b.g(f(1))", b="g = 1", c="def f(x): 0")
    deep = made(
        p__a="from ..q import z as b\nfrom ..q.c import f\nx = b.g(f(1))",
        q__z="g = 1",
        q__c="def f(x): 0",
    )
    assert code_key.code_key(["a"], sources=flat) == code_key.code_key(["p.a"], sources=deep)


@pytest.mark.parametrize(
    "other",
    [
        "from .c import f\nx = f(1)",  # of another module
        "from .b import g as f\nx = f(1)",  # another function
        "from numpy import f\nx = f(1)",
        "def h():\n    from .c import f\nx = f(1)",
    ],
)
def test_a_name_taken_from_elsewhere_moves_the_key(other):
    rest = {"b": "def f(x): 1\ndef g(x): 2", "c": "def f(x): 3", "d": "from . import b, c"}
    keys = [
        code_key.code_key(["a", "d"], sources=made(a=text, **rest))
        for text in ("from .b import f\nx = f(1)", other)
    ]
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    "one, other, same",
    [
        ('raise ValueError(f"{x} is bad")', 'raise ValueError("bad: " + str(x))', False),
        ('raise ValueError(f"{x} is bad")', 'raise ValueError("bad")', True),
        ('raise ValueError("a" + y("b"))', 'raise ValueError("c" + y("b"))', True),
        ('raise ValueError("a" + y("b"))', 'raise ValueError("a" + y("c"))', False),
        ('say("a")', 'say(f"b {x}")', True),
        ('say("a")', 'say(f"b {(x := 3)}")', False),
        ('say(f"a {len(x)}")', 'say(f"b {len(x)}")', True),
        ('say(f"a {next(x)}")', 'say(f"a {x}")', False),
        ('pa.table({"a": 1})', 'pa.table({"b": 1})', False),
        ('pa.table("a")', 'pa.table("b")', False),
        ('table("a", ["b"], [(1, "c")])', 'table("x", ["y"], [(1, "z")])', True),
        ('optimizer.step("a")', 'optimizer.step("b")', False),
        ('step("a")', 'step("b")', False),  # not the one of console
        ('warnings.warn("a")', 'warnings.warn("b")', True),
        ('Field(1, description="a")', 'Field(1, description="b")', True),
        ('Field("a")', 'Field("b")', False),
        ('p.add_argument("--a", help="b")', 'p.add_argument("--a", help="c")', True),
        ('p.add_argument("--a", help="b")', 'p.add_argument("--b", help="b")', False),
        ('assert x, "a"', 'assert x, f"{b}"', True),
        ("assert x", "assert y", False),
        ("x: int = 1", "x: float = 1", True),
        ("x: int = 1", "x: int = 2", False),
        ("def f(a: int) -> int: pass", "def f(a) -> str: pass", True),
        ("def f(a=1): pass", "def f(a=2): pass", False),
        ('class A:\n    x = 1\n    "one"', 'class A:\n    x = 1\n    """The one."""', True),
        ('x = {"a": 1}', 'x = {"b": 1}', False),
        ('run("data/assemble/a")', 'run("data/assemble/b")', False),
        ("x = [1,\n2]", "x = [1, 2]  # two", True),
    ],
)
def test_what_counts_in_a_line(one, other, same):
    start = "from .base.console import say, table\n"
    hashes = [
        code_key.code_hash("a", made(a=start + text, base__console="say = table = step = print"))
        for text in (one, other)
    ]
    assert (hashes[0] == hashes[1]) is same


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "group, change, counts",
    [
        ("users", {"active_days": 3}, True),
        ("candidates", {"exclude_seen": False}, True),
        ("rules", {"apply": []}, True),
        ("score", {"token_budget": 64}, True),
        ("score", {"threads": 1}, True),
        ("score", {"shard_users": 7}, True),
        ("model", {"dtype": "bfloat16"}, True),
        ("score", {"hourly_price": 1.0}, False),
        ("score", {"max_rejected": 1.0}, False),
        ("score", {"max_bundle_age": 1.0}, False),
        ("checks", {"on_failure": "warn"}, False),
        ("paths", {"lake": "elsewhere"}, False),
        ("operation", {"log": "log.json"}, False),
        ("ingest", {"time_unit": "ms"}, False),
    ],
)
def test_settings_count_unless_no_row_can_change_with_them(group, change, counts):
    one, other = Settings(), Settings(**{group: change})
    counted = methods.settings_that_count
    assert (counted(one) != counted(other)) is counts
