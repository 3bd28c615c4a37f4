"""Notebooks of the pages whose code a reader runs: the text as it is, each block of Python as a cell."""

import re
from typing import Any

import nbformat

BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)\n```\n"
    r"(?:\n```text\n.*?^```\n)?"  # what the cell will print
    r"(?:\n!\[[^\]]*\]\([^)]*\)\n)?",  # and draw
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?![a-z]+:)([^)]*)\)")


def notebook(page: str) -> str:
    """Return the notebook of a page's text as a file's text, without outputs."""
    cells: list[Any] = []
    end = 0
    for block in BLOCK.finditer(page):
        cells.append(nbformat.v4.new_markdown_cell(without_links(page[end : block.start()])))
        cells.append(nbformat.v4.new_code_cell(showing(block["code"])))
        end = block.end()
    cells.append(nbformat.v4.new_markdown_cell(without_links(page[end:])))
    cells = [cell for cell in cells if cell.source]
    for number, cell in enumerate(cells, 1):
        cell["id"] = f"cell-{number}"  # the same in every build
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    made = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    nbformat.validate(made)
    return nbformat.writes(made) + "\n"


def showing(code: str) -> str:
    """Return the code of a cell that ends with a figure of nnx's, where it saves one: pyplot does not show that."""
    return re.sub(r"^(nnx\..*)\.savefig(.*)\Z", r"figure = \1\nfigure.savefig\2\nfigure", code, flags=re.MULTILINE)


def without_links(text: str) -> str:
    """Return a text without the links that a notebook cannot have, which lies in a folder with the other notebooks."""

    def link(found: re.Match[str]) -> str:
        name, dot, _ = found[2].partition(".md")
        return f"[{found[1]}]({name}.ipynb)" if dot and re.fullmatch(r"\d\d-[\w-]+", name) else found[1]

    return LINK.sub(link, text).strip()
