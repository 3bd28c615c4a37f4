"""Whether a module is the book's, by its names and arguments, which are read from its text without running it."""

import ast
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

_Defined = dict[str, "list[str] | dict[str, list[str]]"]


def difference(path: Path, own: ModuleType) -> str | None:
    """Return why the module at `path` is not the one that `own` replaces, or None if it is.

    It is, if it defines most of what `own` does, and no public function, class, method or argument that `own` lacks.
    """
    try:
        theirs = _outline(ast.parse(path.read_bytes()))
    except (OSError, SyntaxError, ValueError) as error:
        return f"it cannot be read ({error})"
    known = {name for name in vars(own) if getattr(getattr(own, name), "__module__", None) == own.__name__}
    public = {name for name in known if not name.startswith("_")}
    if 2 * len(public & theirs.keys()) <= len(public):
        return f"it is not the book's: it has no {', no '.join(sorted(public - theirs.keys())[:3])}"
    for name, shape in theirs.items():
        if name not in public:
            return f"it also defines {name}"
        if (changed := _changed(name, shape, getattr(own, name))) is not None:
            return changed
    return None


def _outline(tree: ast.Module) -> _Defined:
    """Return public functions with their arguments, and public classes with those of their methods."""
    found: _Defined = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found[node.name] = _arguments(node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            methods = (m for m in node.body if isinstance(m, ast.FunctionDef))
            found[node.name] = {m.name: _arguments(m) for m in methods if m.name == "__init__" or m.name[0] != "_"}
    return found


def _arguments(node: ast.FunctionDef) -> list[str]:
    args = node.args
    every = (*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg)
    return [each.arg for each in every if each is not None]


def _changed(name: str, shape: "list[str] | dict[str, list[str]]", own: Any) -> str | None:
    if isinstance(shape, dict) != isinstance(own, type):
        return f"its {name} is something else"
    members = shape.items() if isinstance(shape, dict) else [("", shape)]
    for member, arguments in members:
        what = f"{name}.{member}" if member else name
        target = getattr(own, member, None) if member else own
        if target is None:
            return f"its {name} also has {member}"
        if list(inspect.signature(target).parameters) != arguments:
            return f"its {what} takes {', '.join(arguments)}"
    return None
