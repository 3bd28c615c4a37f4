"""The published states of the book's functions and classes, as fingerprints: `printings.toml`.

A fingerprint is a hash of a definition's syntax tree: of what Python executes, and neither of comments, docstrings and
layout nor of what differs between versions of Python's `ast`.
"""

import ast
import hashlib
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("printings.toml")
_LEFT_OUT = {"ctx", "kind", "type_comment", "type_params"}


class State(NamedTuple):
    """A published state of one function, class or constant.

    `by` names what stands for it where that is not nnx's of the same name (`_adapters`); `alone` says why nothing does.
    """

    origin: str
    by: str = ""
    alone: str = ""


States = dict[str, dict[str, dict[str, State]]]
"""By module, name and fingerprint."""


@cache
def published() -> States:
    """Return the states in `printings.toml`."""
    with FILE.open("rb") as file:
        modules = tomllib.load(file)
    return {
        module: {name: {key: _state(value) for key, value in states.items()} for name, states in names.items()}
        for module, names in modules.items()
    }


def _state(value: "str | dict[str, str]") -> State:
    return State(value) if isinstance(value, str) else State(**value)


def definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """Return the functions, classes and constants that a module defines at its top, by name: of equals the last."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node
    return found


def fingerprint(node: ast.AST) -> str:
    """Return the fingerprint of a definition, 12 hexadecimal digits."""
    return hashlib.sha256(repr(_plain(node)).encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_plain, value))
    if not isinstance(value, ast.AST):
        return repr(value)
    fields = []
    for name, part in ast.iter_fields(value):
        kept = [item for item in part if not _says_something(item)] if isinstance(part, list) else part
        if name not in _LEFT_OUT and kept is not None and kept != []:
            fields.append((name, _plain(kept)))
    return type(value).__name__, *fields


def _says_something(node: object) -> bool:
    """Return whether a statement is a text alone, as docstrings are."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
