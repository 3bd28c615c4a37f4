"""The notebooks of the tutorial run, and show what the pages show."""

import importlib.util
import re

import pytest
from tutorial import CHINESE, PAGES, ROOT, blocks, images

nbformat = pytest.importorskip("nbformat")

SPEC = importlib.util.spec_from_file_location("notebooks", ROOT / "docs/_site/notebooks.py")
notebooks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(notebooks)


def made(page):
    return nbformat.reads(notebooks.notebook(page.read_text(encoding="utf-8")), as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("page", [*PAGES, *sorted(CHINESE.glob("*.md"))], ids=lambda page: "/".join(page.parts[-3:]))
def test_a_notebook_holds_the_page(page):
    text = page.read_text(encoding="utf-8")
    notebook = made(page)
    assert [cell.source for cell in code_of(notebook)] == [notebooks.showing(code[:-1]) for code, _ in blocks(text)]
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert re.findall(r"^#+ .*$", prose, re.MULTILINE) == re.findall(r"^#+ .*$", text, re.MULTILINE)
    assert not re.search(r"\]\((?!\d\d-[\w-]+\.ipynb\)|[a-z]+:)", prose)


WITH_CODE = [page for page in PAGES if blocks(page.read_text(encoding="utf-8"))]


@pytest.mark.long
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_a_notebook_runs_and_shows_what_the_page_shows(page, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.delenv("NNX_BACKEND", raising=False)
    text = page.read_text(encoding="utf-8")
    notebook = made(page)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    drawn = 0
    for cell, (code, shown) in zip(code_of(notebook), blocks(text), strict=True):
        printed = {"stdout": "", "stderr": ""}
        for out in cell.outputs:
            if out.output_type == "stream":
                printed[out.name] += out.text
            drawn += "image/png" in out.get("data", {})
        assert [line.rstrip() for line in printed["stdout"].splitlines()] == shown.splitlines(), code
        assert re.fullmatch(r"(nnx: compiling kernels.*\n)?", printed["stderr"])
    assert drawn == len(images(text))
