"""Write nnx/ops/_operations.pyi, the operations as a type checker sees them, from the signatures of nnx/ops/spec.py.

`python tests/typing/stub.py` after a change of an operation's arguments; a test says when it is out of date.
"""

import ast
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnx.ops import spec

STUB = Path(spec.__file__).with_name("_operations.pyi")


def stub() -> str:
    """The stub's text: a class with every operation as a method, without the leading `ops`."""
    methods = [_method(getattr(spec, name)) for name in spec.OPERATIONS]
    names = {node.id for method in methods for node in ast.walk(method) if isinstance(node, ast.Name)}
    body = textwrap.indent("\n".join(ast.unparse(method) for method in methods), "    ")
    return (
        '"""Written by tests/typing/stub.py from the signatures of nnx/ops/spec.py."""\n\n'
        + "".join(f"{line}\n" for line in _imports(names))
        + "\nclass Operations:\n"
        + f'    """Every operation of nnx.ops.spec, bound to a backend."""\n\n{body}\n'
    )


def _method(operation: Callable[..., Any]) -> ast.FunctionDef:
    function = ast.parse(textwrap.dedent(inspect.getsource(operation))).body[0]
    assert isinstance(function, ast.FunctionDef)
    function.args.args[0] = ast.arg("self")  # in the place of `ops`
    function.body = [ast.Expr(ast.Constant(...))]
    for annotated in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs):
        annotated.annotation = _evaluated(annotated.annotation)
    function.returns = _evaluated(function.returns)
    return function


def _evaluated(annotation: ast.expr | None) -> ast.expr | None:
    """The annotation without quotes."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


def _imports(names: set[str]) -> list[str]:
    """The imports of spec.py that the annotations need."""
    found: list[str] = []
    for node in ast.walk(ast.parse(inspect.getsource(spec))):
        if isinstance(node, ast.ImportFrom):
            used = sorted(alias.name for alias in node.names if alias.name in names)
            if used:
                found.append(f"from {'.' * node.level}{node.module or ''} import {', '.join(used)}")
    # In the order of ruff: the farthest relatives first, after what is no relative.
    return sorted(found, key=lambda line: (line.startswith("from ."), -line.count(".", 0, line.index("import")), line))


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
    for arguments in (["check", "-q", "--select", "I", "--fix"], ["format", "-q"]):
        subprocess.run([sys.executable, "-m", "ruff", *arguments, str(STUB)], check=True)
    print(f"{STUB}: {len(spec.OPERATIONS)} operations")
