"Pages of the site that are generated, and the guides that name files: what they name is there."

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from ccf_batch import __main__ as program
from ccf_batch.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
pages = pytest.importorskip("pages")
sys.path.pop(0)

GUIDES = ("CONTRIBUTING.md", "docs/architecture.md", "docs/wings.md")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    return folder, pages.write_pages(folder)


def test_every_page_of_the_navigation_is_written(site):
    folder, navigation = site
    for listed in navigation.values():
        assert all((folder / f"{page}.md").is_file() for page in listed)
    written = {str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.md")}
    assert written == {page for listed in navigation.values() for page in listed}


def test_every_command_has_its_help(site):
    for name, text in program.COMMANDS.items():
        page = (site[0] / f"commands/{name}.md").read_text("utf-8")
        assert page.startswith(f"# {name}\n\n> {text}\n") and f"ccf-batch {name} " in page
        assert "--help-all" in page and "exit codes: 0 ok" in page


def keys_of(group, above=""):
    for name, value in group.items():
        if isinstance(value, dict) and f"{above}{name}" in Settings.model_fields:
            yield from keys_of(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def test_every_key_of_the_settings_has_a_row(site):
    page = (site[0] / "commands/settings.md").read_text("utf-8")
    keys = list(keys_of(Settings().model_dump()))
    assert len(keys) > 60
    assert set(re.findall(r"^\| `([\w.]+)` \|", page, re.M)) == set(keys)


def test_every_module_is_on_the_page_of_its_wing(site):
    for wing in pages.read_wings():
        page = (site[0] / f"api/{wing.name}/index.md").read_text("utf-8")
        files = (ROOT / "ccf_batch" / wing.name).glob("[!_]*.py")
        named = set(re.findall(r"^\| \[`(\w+)`\]", page, re.M))
        assert named == {file.stem for file in files} and wing.why in page


def test_the_picture_has_the_arrows_of_the_imports(site):
    svg = (site[0] / "architecture.md").read_text("utf-8")
    drawn = re.findall(r"<title>(\w+) imports (\w+)</title>", svg)
    wings = pages.read_wings()
    expected = {(w.name, other) for w in wings for other in w.uses}
    left_out = expected - set(drawn)
    assert set(drawn) <= expected and len({target for _, target in left_out}) == 1
    assert ("model", "cf") in drawn and ("night", "model") not in expected


@pytest.mark.parametrize("guide", GUIDES)
def test_files_and_names_that_a_guide_mentions_exist(guide):
    text = (ROOT / guide).read_text("utf-8")
    for name in re.findall(r"`((?:nbs|tests|sql|docs|examples|ccf_batch)/[\w./-]*)`", text):
        if not re.search(r"NN_|/name\.", name):
            assert (ROOT / name).exists(), name
    for wing, module in re.findall(r"`(base|data|cf|lm|model|night|evaluation)\.(\w+)`", text):
        is_setting = (
            module
            in getattr(Settings.model_fields.get(wing), "annotation", Settings)().model_dump()
        )
        assert is_setting or (ROOT / "ccf_batch" / wing / f"{module}.py").is_file(), (wing, module)


def test_recipes_name_what_the_notebooks_define():
    "In a recipe, a name in capitals or of a function stands before the notebook that has it."
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Recipes")[2]
    pairs = re.findall(r"`(\w+)`(?: of `\w+`)?,? in `(nbs/api/[\w/]+\.ipynb)`", text)
    assert len(pairs) >= 10
    for name, notebook in pairs:
        cells = json.loads((ROOT / notebook).read_text("utf-8"))["cells"]
        source = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        bound = {
            n.name
            for n in ast.walk(ast.parse(re.sub(r"(?m)^[%!].*", "", source)))
            if hasattr(n, "name")
        }
        bound |= set(re.findall(r"^(\w+)(?:: .*)? = ", source, re.M))
        assert name in bound, (name, notebook)


NOTEBOOKS = sorted((ROOT / "nbs").rglob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_links_to_other_notebooks_resolve(path):
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            for link in re.findall(r"\]\(([\w./]+\.ipynb)[^)]*\)", "".join(cell["source"])):
                assert (path.parent / link).is_file(), link
