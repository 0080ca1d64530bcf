"Make README.md from `nbs/index.ipynb`: `python docs/readme.py`."

from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Made from nbs/index.ipynb by `make readme`. Edit the notebook. -->"


def main() -> None:
    nb = nbformat.read(ROOT / "nbs" / "index.ipynb", as_version=4)
    nb.cells = [c for c in nb.cells if "#| hide" not in c.source]
    body, _ = MarkdownExporter().from_notebook_node(nb)
    (ROOT / "README.md").write_text(f"{NOTE}\n\n{body.strip()}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
