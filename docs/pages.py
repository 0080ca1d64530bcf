"""Pages of the site that are generated from the code: wings, commands, settings, architecture.

Each is Markdown, written below `_proc/` before Sphinx runs. What they say is read from the notebooks'
titles, the table of wings in `nbs/index.ipynb`, the imports of the modules, the rules in
`tests/test_house.py`, the commands' help, and the tree of settings. `docs/wings.md` and
`docs/architecture.md` hold what only a person can say.
"""

from __future__ import annotations

import contextlib
import html
import importlib.util
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import nbformat
from pydantic import BaseModel

from ccf_batch import __main__ as program
from ccf_batch.research.code_key import imports, installed
from ccf_batch.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
API = ROOT / "nbs" / "api"


def load_file_as_module(path: Path) -> ModuleType:
    "Import a Python file that belongs to no package."
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Title(NamedTuple):
    "How a notebook begins."

    title: str
    subtitle: str  # Without a full stop


def read_title(notebook: Path) -> Title:
    "Read the heading of a notebook and the quoted line below it."
    text = next(c.source for c in nbformat.read(notebook, 4).cells if c.cell_type == "markdown")
    heading, *rest = text.split("\n")
    quoted = [line.removeprefix(">").strip() for line in rest if line.startswith(">")]
    return Title(heading.removeprefix("# "), " ".join(quoted).rstrip("."))


class Module(NamedTuple):
    "A module and its notebook."

    name: str  # Without the wing
    page: str  # Its notebook, relative to its folder, without ending
    title: Title


def read_modules(folder: Path) -> list[Module]:
    "List the modules of a folder of notebooks, in their order."
    files = sorted(folder.glob("*.ipynb"))
    return [Module(f.stem.partition("_")[2], f.stem, read_title(f)) for f in files]


@dataclass(frozen=True)
class Wing:
    "A package of modules, and what is said of it."

    name: str
    what: str  # From the table of wings
    why: str  # From `docs/wings.md`
    modules: list[Module]
    uses: list[str]  # Wings that its modules import when they run
    rules: list[str]  # What it never imports


def paragraphs_by_wing() -> dict[str, str]:
    "Read `docs/wings.md`: a heading a wing, and the text below it."
    _, *parts = re.split(r"^## ", (ROOT / "docs" / "wings.md").read_text("utf-8"), flags=re.M)
    return {name: text.strip() for name, _, text in (part.partition("\n") for part in parts)}


def descriptions_by_wing() -> dict[str, str]:
    "Read the table of wings in `nbs/index.ipynb`."
    cells = nbformat.read(ROOT / "nbs" / "index.ipynb", 4).cells
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    return dict(re.findall(r"^\| `(\w+)/` \| (.*?) \|", text, re.M))


def used_wings(wing: str, names: list[str]) -> list[str]:
    "List the other wings that a wing's modules import when they run, in the order of `names`."
    sources = installed()
    modules = [m for m in sources.modules if m.startswith(f"{wing}.")]
    found = {i.module.split(".")[0] for m in modules for i in imports(m, sources) if i.own}
    return [name for name in names if name in found - {wing}]


def listed(names: list[str]) -> str:
    "Join names as a sentence does: `a`, `b` and `c`."
    *most, last = [f"`{name}`" for name in names]
    return f"{', '.join(most)} and {last}" if most else last


def rules_of(wing: str, names: list[str], house: ModuleType) -> list[str]:
    "List what a wing never imports and where that lies, from the tables of `tests/test_house.py`."
    beside = [n for n in names if {wing, n} in house.BESIDE]
    later = [n for n in names[names.index(wing) + 1 :] if n not in beside]
    before = [n for n in names if n in house.NEVER.get(wing, ())]
    reasons = (
        (later, "below it"),
        (beside, "beside it"),
        (before, "although above it"),
    )
    return [f"{listed(others)} ({why})" for others, why in reasons if others]


def read_wings() -> list[Wing]:
    "Read all wings, in the order in which data passes through them; raises `ValueError` where one has no text."
    house = load_file_as_module(ROOT / "tests" / "test_house.py")
    names = [name for name in house.LEFT_TO_RIGHT if name in house.WINGS]
    what, why = descriptions_by_wing(), paragraphs_by_wing()
    for file, texts in (("nbs/index.ipynb", what), ("docs/wings.md", why)):
        if set(texts) != set(names):
            raise ValueError(f"{file}: describes {sorted(texts)}, but the wings are {names}")
    wings = []
    for name in names:
        modules = read_modules(API / name)
        wings.append(
            Wing(
                name,
                what[name],
                why[name],
                modules,
                used_wings(name, names),
                rules_of(name, names, house),
            )
        )
    return wings


def table_of_contents(caption: str, pages: list[str], hidden: bool = True) -> str:
    "Write the directive by which Sphinx puts pages into the navigation."
    options = [":hidden:"] * hidden + [f":caption: {caption}"] * bool(caption)
    return "\n".join(["```{toctree}", *options, "", *pages, "```"])


def modules_table(modules: list[Module]) -> str:
    "Write a table of modules: name, and what the notebook's subtitle says."
    lines = [f"| [`{m.name}`]({m.page}.ipynb) | {m.title.subtitle} |" for m in modules]
    return "\n".join(["| module | what it is |", "|---|---|", *lines])


def wing_page(wing: Wing, wings: list[Wing]) -> str:
    "Write the first page of a wing."
    used_by = [other.name for other in wings if wing.name in other.uses]
    uses = f"Its modules import {listed(wing.uses)}" if wing.uses else "It imports no other wing"
    users = f"it is imported by {listed(used_by)}" if used_by else "no other wing imports it"
    rules = "\n".join(f"- {rule}" for rule in [*wing.rules, "any command"])
    parts = [
        f"# {wing.name}",
        f"> {wing.what[0].upper()}{wing.what[1:]}.",
        wing.why,
        f"## Modules\n\n{modules_table(wing.modules)}",
        f"## Imports\n\n{uses}, and {users}. It never imports\n\n{rules}\n\n`tests/test_house.py` holds that.",
        table_of_contents("", [m.page for m in wing.modules]),
    ]
    return "\n\n".join(parts) + "\n"


def commands_and_ground_page(modules: list[Module]) -> str:
    "Write the page of what stands above the wings and of what lies below them."
    parts = [
        "# Commands and ground",
        "> The modules outside the wings: what all of them may import, and what imports all of them.",
        "`settings` and `metrics` are ground: every wing may import them. All others are commands, which hold "
        "flags and the order of work; no wing imports one.",
        modules_table(modules),
        table_of_contents("", [m.page for m in modules]),
    ]
    return "\n\n".join(parts) + "\n"


# The picture


WIDTH = 380  # of the drawing; a phone has about as many pixels
BOX = 250  # of a wing
ROW = 62  # from one wing to the next
STEP = 19  # by which an arrow bulges for each wing that it passes


def picture(wings: list[Wing], left_out: set[str]) -> str:
    "Draw the wings from top to bottom as SVG, with an arrow from each to those that it imports."
    names = [w.name for w in wings]
    arrows = [(i, names.index(t)) for i, w in enumerate(wings) for t in w.uses if t not in left_out]
    out_of = {i: [b for a, b in arrows if a == i] for i in range(len(names))}
    into = {i: [a for a, b in arrows if b == i] for i in range(len(names))}
    top, height = 6, ROW - 16
    parts = []
    for i, wing in enumerate(wings):
        y = top + i * ROW
        label = html.escape(re.split("[;:]", wing.what)[0])
        parts.append(
            f'<a href="api/{wing.name}/index.html"><rect x="1" y="{y}" width="{BOX}" height="{height}" rx="6"/>'
            f'<text x="12" y="{y + 19}" class="name">{wing.name}</text>'
            f'<text x="12" y="{y + 36}" class="what">{label}</text></a>'
        )
    for a, b in arrows:
        y_from = top + a * ROW + 4 + 16 * (out_of[a].index(b) + 1) / (len(out_of[a]) + 1)
        y_to = top + b * ROW + 22 + 20 * (into[b].index(a) + 1) / (len(into[b]) + 1)
        bulge = BOX + 12 + STEP * (a - b)
        parts.append(
            f'<path d="M{BOX + 2} {y_from:.1f} C{bulge} {y_from:.1f} {bulge} {y_to:.1f} {BOX + 8} {y_to:.1f}" '
            f'class="arrow wing-{a}"><title>{names[a]} imports {names[b]}</title></path>'
        )
    size = f'viewBox="0 0 {WIDTH} {top + len(wings) * ROW}"'
    style = (
        ".wings{max-width:520px;width:100%;height:auto;font-family:inherit}"
        ".wings rect{fill:transparent;stroke:var(--color-foreground-primary);stroke-opacity:.45}"
        ".wings a:hover rect{stroke:var(--color-brand-primary);stroke-opacity:1}"
        ".wings a{text-decoration:none}.wings text{fill:var(--color-foreground-primary)}"
        ".wings .name{font-weight:600;font-size:15px}.wings .what{font-size:11.5px;opacity:.8}"
        ".wings .arrow{fill:none;stroke:var(--color-brand-primary);stroke-width:1.3;stroke-opacity:.75;"
        "marker-end:url(#head)}.wings .arrow:hover{stroke-width:3;stroke-opacity:1}"
        ".wings marker path{fill:var(--color-brand-primary)}"
    )
    head = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker></defs>'
    )
    about = f"{len(names)} wings from {names[0]} to {names[-1]}, and which imports which"
    return (
        # in a `div`: elsewhere Markdown takes the style for text and turns its dashes
        f'<div><svg class="wings" {size} role="img" aria-label="{about}"><style>{style}</style>{head}'
        + "".join(parts)
        + "</svg></div>"
    )


def architecture_page(wings: list[Wing]) -> str:
    "Write the page *Architecture*: the text of `docs/architecture.md` with picture and rules put in."
    everywhere = [
        w.name
        for k, w in enumerate(wings)
        if len(wings[k + 1 :]) > 2 and all(w.name in below.uses for below in wings[k + 1 :])
    ]
    caption = "An arrow leads from a wing to one that its modules import when they run."
    if everywhere:
        caption += f" Every wing below {listed(everywhere)} imports it; those arrows are left out."
    lines = [
        f"| `{w.name}` | {listed(w.uses) if w.uses else 'none'} | {', '.join(w.rules) or 'none'} |"
        for w in wings
    ]
    rules = "\n".join(["| wing | imports | never imports |", "|---|---|---|", *lines])
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for mark, content in (
        ("picture", picture(wings, set(everywhere))),
        ("left out", caption),
        ("rules", rules),
    ):
        before, found, after = text.partition(f"<!-- {mark} -->\n")
        if not found:
            raise ValueError(f"docs/architecture.md: has no line '<!-- {mark} -->'; put it back")
        text = f"{before}{content}\n{after}"
    return text


# Commands and settings


def help_of(command: str) -> str:
    "Capture what a command prints for `--help`, in 80 columns."
    out = io.StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            program.main([command, "--help"])
    finally:
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    return out.getvalue().strip()


def command_page(command: str, modules: list[Module]) -> str:
    "Write the page of a command from its help."
    subtitle, _, rest = help_of(command).partition("\n")
    page = next(m.page for m in modules if m.name == command)
    parts = [
        f"# {command}",
        f"> {subtitle}",
        f"```text\n$ ccf-batch {command} --help\n{subtitle}\n{rest}\n```",
        f"All keys of the groups that it reads are on the page [Settings](settings.md); "
        f"how it works is on [its page of the reference](../api/{page}.ipynb).",
    ]
    return "\n\n".join(parts) + "\n"


class Key(NamedTuple):
    "A key of the settings file."

    name: str
    default: str
    text: str


def keys_of(group: type[BaseModel], prefix: str) -> Iterator[Key]:
    "List the keys of a group that are no groups themselves."
    for name, field in group.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            continue
        default = field.get_default(call_default_factory=True)
        shown = "unset" if default is None else "empty" if default == "" else f"`{default}`"
        yield Key(f"{prefix}{name}", shown, (field.description or "").replace("|", "\\|"))


def keys_table(group: type[BaseModel], prefix: str = "") -> str:
    "Write a table of the keys of a group."
    lines = [f"| `{k.name}` | {k.default} | {k.text} |" for k in keys_of(group, prefix)]
    return "\n".join(["| key | default | what it is |", "|---|---|---|", *lines])


def settings_page() -> str:
    "Write the page of all keys of `ccf.toml`, group by group."
    parts = [
        "# Settings",
        "> Every key of `ccf.toml`, with its default.",
        "A key of the file is also a flag: `score.token_budget` is `--score.token-budget`. A flag goes before the "
        "file, and the file before the default. An unknown key is an error that names the nearest known one.",
        keys_table(Settings),
    ]
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            parts.append(f"## [{name}]\n\n{(group.__doc__ or '').strip()}")
            parts.append(keys_table(group, f"{name}."))
    return "\n\n".join(parts) + "\n"


def write_pages(into: Path) -> dict[str, list[str]]:
    "Write all generated pages below a folder; returns the pages of each part of the navigation."
    wings, top = read_wings(), read_modules(API)
    texts = {
        "architecture": architecture_page(wings),
        "contributing": (ROOT / "CONTRIBUTING.md").read_text("utf-8"),
        "commands/settings": settings_page(),
        "api/index": commands_and_ground_page([m._replace(name=m.name.strip("_")) for m in top]),
    }
    texts |= {f"commands/{name}": command_page(name, top) for name in program.COMMANDS}
    texts |= {f"api/{wing.name}/index": wing_page(wing, wings) for wing in wings}
    for page, text in texts.items():
        file = into / f"{page}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return {
        "How it works": ["architecture", "contributing"],
        "Commands and settings": [
            *(f"commands/{name}" for name in program.COMMANDS),
            "commands/settings",
        ],
        "Reference by wing": [*(f"api/{wing.name}/index" for wing in wings), "api/index"],
    }
