"""Build the documentation site from the notebooks, without Quarto: `python docs/build.py`.

1. nbdev processes each notebook as for its own site: hidden cells go, and each exported definition
   gets a block with its signature and docments.
2. Two changes make the result fit for Sphinx: the front matter becomes a heading, and cells that
   only produce such a block hide their code.
3. `pages.py` writes the pages that are generated from the code: wings, commands, settings, architecture.
4. Sphinx with myst-nb renders the pages into `_docs/`. A warning is an error.
"""

from __future__ import annotations

import re
import shutil
import sys
import warnings
from pathlib import Path

import fastcore.docments
import nbformat
import yaml
from nbdev.serve import proc_nbs
from pages import table_of_contents, write_pages
from sphinx.cmd.build import main as sphinx_build

ROOT = Path(__file__).resolve().parents[1]
NAVIGATION = [
    "Tutorials",
    "How it works",
    "Commands and settings",
    "Experiments",
    "Reference by wing",
]


def show_names_as_written() -> None:
    "Annotations that name what is imported for type checkers alone are shown as they stand."
    evaluated = fastcore.docments.signature

    def signature(symbol, **options):
        try:
            return evaluated(symbol, **options)
        except NameError:
            return evaluated(symbol)

    fastcore.docments.signature = signature


def front_matter(cell) -> str:
    "The raw front matter of a processed notebook as a heading and a quoted line."
    matter = yaml.safe_load(cell.source.strip().strip("-"))
    title, description = matter.get("title"), matter.get("description")
    return f"# {title}\n" + (f"\n> {description}\n" if description else "")


def generated(cell) -> bool:
    "Is this a cell that nbdev put in to show a signature?"
    return cell.cell_type == "code" and "#| echo: false" in cell.source


def without_repeats(cells: list) -> list:
    "Leave out the signature of what a page shows whole anyway (`#| exports`)."
    shown = "\n".join(c.source for c in cells if c.cell_type == "code" and not generated(c))
    whole = set(re.findall(r"^(?:class|def) (\w+)", shown, flags=re.MULTILINE))
    name = re.compile(r"show_doc\((\w+)\)")
    return [c for c in cells if not (generated(c) and whole & set(name.findall(c.source)))]


def in_order(cells: list) -> list:
    "nbdev puts the signatures of one cell in backwards: turn each run of them round."
    out, run = [], []
    for cell in cells:
        if generated(cell):
            run.append(cell)
            continue
        out += reversed(run)
        run = []
        out.append(cell)
    return out + list(reversed(run))


def plain(text: str) -> str:
    "A stream as a terminal would leave it: what a carriage return overwrote is gone, colours too."
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    return "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))


def for_sphinx(path: Path) -> None:
    "Rewrite one processed notebook in place."
    nb = nbformat.read(path, as_version=4)
    if nb.cells and nb.cells[0].cell_type == "raw":
        nb.cells[0] = nbformat.v4.new_markdown_cell(front_matter(nb.cells[0]))
    nb.cells = in_order(without_repeats(nb.cells))
    for cell in nb.cells:
        cell.pop("has_sd", None)  # nbdev's own mark, which the notebook format does not know
        if generated(cell):
            cell.metadata["tags"] = ["remove-input"]
        if cell.cell_type == "code":  # nbdev's and Quarto's directives are not for readers
            cell.source = re.sub(r"^(#\||%%bash).*\n?", "", cell.source, flags=re.MULTILINE)
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = plain(output.text)
            # a signature block: a rule and an `h3` of the definition's name
            elif "text/markdown" in output.get("data", {}):
                output.data["text/markdown"] = output.data["text/markdown"].removeprefix("---\n\n")
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.output_type != "stream" or o.text.strip()]
    nbformat.write(nb, path)


def notebook_pages(folder: Path) -> list[str]:
    "List the processed notebooks of a folder, as a table of contents names them."
    return [f"{folder.name}/{file.stem}" for file in sorted(folder.glob("*.ipynb"))]


def main() -> int:
    processed = ROOT / "_proc"
    shutil.rmtree(processed, ignore_errors=True)
    warnings.filterwarnings("ignore", message="Found cells containing imports")
    show_names_as_written()
    proc_nbs(n_workers=0)  # in this process, where that holds
    for path in processed.rglob("*.ipynb"):
        for_sphinx(path)
    index = nbformat.read(processed / "index.ipynb", as_version=4)
    pages = write_pages(processed) | {
        caption: notebook_pages(processed / caption.lower())
        for caption in ("Tutorials", "Experiments")
    }
    for caption in NAVIGATION:
        tree = table_of_contents(caption, pages[caption])
        index.cells.append(nbformat.v4.new_markdown_cell(tree))
    nbformat.write(index, processed / "index.ipynb")
    site = ROOT / "_docs"
    shutil.rmtree(site, ignore_errors=True)
    args = ["-q", "-W", "--keep-going", "-j", "2", "-c", ROOT / "docs", processed, site]
    code = sphinx_build([str(a) for a in args])
    if code == 0:
        print(f"The site is at {site.relative_to(Path.cwd())}/index.html")
    return code


if __name__ == "__main__":
    sys.exit(main())
