"""docs/writing-a-backend.md is true: its plugin is the one that passes the kit, its list is what nnx asks for."""

import ast
import re
from pathlib import Path

from pages import blocks_of

import nnx
from nnx.formula import OPERATIONS
from nnx.ops._dtypes import BACKEND_DTYPES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/writing-a-backend.md").read_text(encoding="utf-8")
FOR_NUMPY_ALONE = ("accel", "bench", "book", "sklearn")


def asked_of_xp():
    """The names that nnx takes from a backend's namespace, written `xp.NAME` or given by a formula."""
    root = Path(nnx.__file__).parent
    files = [file for file in root.rglob("*.py") if file.relative_to(root).parts[0] not in FOR_NUMPY_ALONE]
    composed = {"neg", "sigmoid", "softplus", "erf"}
    names = {name for name in OPERATIONS if name.isidentifier()} - composed | set(BACKEND_DTYPES)
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value
                if "xp" in (getattr(owner, "id", None), getattr(owner, "attr", None)):
                    names.add(node.attr)
    return names


def test_the_list_of_names_is_what_nnx_asks_for():
    table = PAGE.split("## Over a library that is not quite the Array API")[1].split("## ")[0]
    rows = [line for line in table.splitlines() if re.match(r"\| (?!---|names)", line)]
    listed = re.findall(r"`(\w+)`", "\n".join(row.split("|")[2] for row in rows))
    assert len(listed) == len(set(listed))
    assert set(listed) == asked_of_xp()


def test_the_plugin_of_the_page_is_the_one_that_is_tested():
    files = {block.file: block.text for block in blocks_of(PAGE) if block.file}
    assert set(files) == {"pyproject.toml", "nnx_toy.py"}
    for name, text in files.items():
        assert text == (ROOT / "tests/toy_plugin" / name).read_text(encoding="utf-8")
