"What the documentation build and the next reader need of every notebook."

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "nbs").rglob("*.ipynb"))


def cells(path, kind):
    nb = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in nb["cells"] if c["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_opens_with_a_title_and_a_line(path):
    first = cells(path, "markdown")[0]
    assert first.startswith("# ")
    assert "\n> " in first


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_imports_have_cells_of_their_own(path):
    # the docs build runs every cell that imports, to show signatures: no work may hide in one
    for source in cells(path, "code"):
        if source.startswith("%%"):  # another language
            continue
        tops = [s for s in ast.parse(source).body if not isinstance(s, ast.Expr)]
        imports = [isinstance(s, ast.Import | ast.ImportFrom) for s in tops]
        assert all(imports) or not any(imports), f"imports and other code in one cell:\n{source}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_is_clean(path):
    nb = json.loads(path.read_text(encoding="utf-8"))
    for cell in nb["cells"]:
        assert cell.get("execution_count") is None
        assert not [o for o in cell.get("outputs", []) if o["output_type"] == "error"]
