"Make README.md from `nbs/index.ipynb`: `python docs/readme.py`."

from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Made from nbs/index.ipynb by `make readme`. Edit the notebook. -->"


def main() -> None:
    nb = nbformat.read(ROOT / "nbs" / "index.ipynb", as_version=4)
    nb.cells = [c for c in nb.cells if not c.source.startswith("#| hide")]
    for cell in nb.cells:
        if cell.source.startswith("#| echo: false"):
            cell.metadata["tags"] = ["remove-input"]
    config = Config()
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_input_tags = ("remove-input",)
    config.MarkdownExporter.preprocessors = ["nbconvert.preprocessors.TagRemovePreprocessor"]
    body, _ = MarkdownExporter(config=config).from_notebook_node(nb)
    (ROOT / "README.md").write_text(f"{NOTE}\n\n{body.strip()}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
