"""Which functions and classes of a module are the book's, so that nnx's can take their places.

One is, if its syntax tree is that of a published state, if nothing has changed it since, and if everything that it uses
is the book's, too: `SoftmaxWithLoss` over a `softmax` of the reader's own is the reader's own.
"""

import ast
import builtins
import dis
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from . import _printings

_LIBRARIES = {"np": "numpy", **{name: name for name in ("gzip", "os", "pickle", "sys", "urllib")}}
"""The modules that the book's import, by the names under which they do."""
_OF_ANY_CLASS = {"__dict__", "__doc__", "__firstlineno__", "__module__", "__static_attributes__", "__weakref__"}


class Found(NamedTuple):
    """What was found out about a module.

    Attributes:
        known: the published state of each function, class and constant that may be taken for the book's.
        alone: why each other one that has a name of the book's may not.
    """

    known: dict[str, _printings.State]
    alone: dict[str, str]


def look(module: ModuleType, given: Mapping[str, list[Any]]) -> Found:
    """Find out what of a module, which has been executed, is the book's.

    Args:
        module: the script's.
        given: what else may be used under which names: what has been put into other modules.
    """
    states = _printings.published()[module.__name__]
    source = _source(module)
    if source is None:
        return Found({}, dict.fromkeys(states.keys() & vars(module).keys(), "its text cannot be read"))
    nodes = _printings.definitions(ast.parse(source))
    known: dict[str, _printings.State] = {}
    alone: dict[str, str] = {}
    for name in states:
        if name in nodes:
            state = states[name].get(_printings.fingerprint(nodes[name]))
            if state is None:
                alone[name] = "not as in any published state"
            elif state.alone:
                alone[name] = f"as in the state {state.origin}: {state.alone}"
            elif reason := _changed(module, name, nodes[name]):
                alone[name] = reason
            else:
                known[name] = state
        elif name in vars(module):
            alone[name] = "defined elsewhere"
    while foreign := {name: used for name in known if (used := _foreign(module, name, known, given))}:
        for name, reason in foreign.items():
            del known[name]
            alone[name] = reason
    return Found(known, alone)


def _source(module: ModuleType) -> str | None:
    get_source = getattr(module.__loader__, "get_source", None)
    try:
        source: str | None = get_source(module.__name__) if get_source else None
    except (ImportError, OSError):
        return None
    return source


def _changed(module: ModuleType, name: str, node: ast.stmt) -> str | None:
    """Return why what has this name now is not what the text defines, or None if it is."""
    value = vars(module).get(name)
    if isinstance(node, ast.Assign):
        return None if isinstance(value, str | int | tuple | dict) else "replaced after its definition"
    if isinstance(node, ast.FunctionDef):
        return None if _is_from(value, module, node) else "replaced after its definition"
    if not (isinstance(node, ast.ClassDef) and type(value) is type and value.__module__ == module.__name__):
        return "replaced after its definition"
    methods = {_mangled(part.name, name) for part in node.body if isinstance(part, ast.FunctionDef)}
    members = {key: member for key, member in vars(value).items() if key not in _OF_ANY_CLASS}
    if members.keys() != methods or not all(_is_from(member, module, node) for member in members.values()):
        return "changed after its definition"
    derived: list[type] = value.__subclasses__()
    if derived:
        return f"{derived[0].__name__} is derived from it"
    return None


def _mangled(method: str, cls: str) -> str:
    """Return the name under which a class holds a method."""
    return f"_{cls.lstrip('_')}{method}" if method.startswith("__") and not method.endswith("__") else method


def _is_from(function: object, module: ModuleType, node: ast.stmt) -> bool:
    if type(function) is not FunctionType or function.__globals__ is not vars(module):
        return False
    return node.lineno <= function.__code__.co_firstlineno <= (node.end_lineno or 0)


def _foreign(module: ModuleType, name: str, known: Mapping[str, object], given: Mapping[str, list[Any]]) -> str | None:
    """Return which name that a definition uses is not the book's, or None."""
    for used in sorted(_globals(vars(module)[name])):
        if used in known or used == "__file__":
            continue
        if used not in vars(module):
            if not hasattr(builtins, used):
                return f"uses {used}, which is not there"
            continue
        value = vars(module)[used]
        expected = [*given.get(used, ()), sys.modules.get(_LIBRARIES.get(used, "")), OrderedDict]
        if value is None or not any(value is one for one in expected):
            return f"uses {used}, which is not the book's"
    return None


def _globals(value: object) -> set[str]:
    """Return the global names that a function uses, or the methods of a class."""
    if isinstance(value, type):
        return set().union(*map(_globals, vars(value).values()))
    return set(_of_code(value.__code__)) if isinstance(value, FunctionType) else set()


def _of_code(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _of_code(part)
