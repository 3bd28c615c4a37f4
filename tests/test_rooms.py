"""Rooms keep to themselves what begins with an underscore."""

import ast
from pathlib import Path

import pytest

import nnx

ROOT = Path(nnx.__file__).parent
FOR_ALL = {"_support"}
"""Rooms whose name says that users have no business there; every room of nnx has."""


def imported(path):
    """The absolute names of all modules and members that a file of nnx imports from nnx."""
    package = ("nnx", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = (*base, *(node.module or "").split(".")) if node.module else base
            for alias in node.names:
                yield (*target, alias.name)


@pytest.mark.slow
def test_no_room_imports_what_is_private_in_another():
    wrong = []
    for path in ROOT.rglob("*.py"):
        own = ("nnx", *path.relative_to(ROOT).parent.parts)
        for name in imported(path):
            for i, part in enumerate(name):
                if part.startswith("_") and not part.startswith("__") and part not in FOR_ALL and name[:i] != own[:i]:
                    wrong.append(f"{path.relative_to(ROOT)}: {'.'.join(name)}")
    assert wrong == []


def test_the_top_holds_what_a_newcomer_looks_for_by_that_name():
    there = {p.stem for p in ROOT.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    private = {name for name in there if name.startswith("_")}
    assert private == {"__init__", "__main__", "_support"}
    assert len(there - private) <= 30
