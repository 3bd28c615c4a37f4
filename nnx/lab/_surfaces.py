"""Functions of two variables to descend: a few by name, or an expression in x and y."""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .._support.checks import as_number
from ..errors import InputError, unknown

Function2D: TypeAlias = Callable[[float, float], Any]


@dataclass(frozen=True)
class Surface:
    """A function of two variables, the first point of a descent, and the region to draw."""

    f: Function2D
    start: tuple[float, float]
    region: tuple[float, float, float, float]
    """x from, x to, y from, y to."""
    formula: str


SURFACES = {
    "bowl": Surface(lambda x, y: x**2 / 20 + y**2, (-7.0, 2.0), (-9.0, 9.0, -4.0, 4.0), "x²/20 + y²"),
    "sphere": Surface(lambda x, y: x**2 + y**2, (-3.0, 4.0), (-5.0, 5.0, -5.0, 5.0), "x² + y²"),
    "saddle": Surface(lambda x, y: x**2 - y**2, (-3.0, 0.1), (-4.0, 4.0, -4.0, 4.0), "x² - y²"),
    "rosenbrock": Surface(
        lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
        (-1.2, 1.0),
        (-2.0, 2.0, -1.0, 3.0),
        "(1 - x)² + 100 (y - x²)²",
    ),
    "himmelblau": Surface(
        lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
        (0.0, 0.0),
        (-5.0, 5.0, -5.0, 5.0),
        "(x² + y - 11)² + (x + y² - 7)²",
    ),
}
"""What `gradient` knows by name."""

_BINARY: dict[type[ast.operator], Any] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_CALLS: dict[str, Any] = {
    name: getattr(np, name) for name in ("sin", "cos", "tan", "tanh", "exp", "log", "sqrt", "abs")
}
_CONSTANTS = {"pi": math.pi, "e": math.e}
_LONGEST = 300  # characters: no expression is then nested too deeply to be evaluated


def parse(text: str) -> Function2D:
    """Return the function that an expression in x and y stands for, such as "x**2 / 20 + sin(y)".

    It may hold numbers, x, y, pi, e, + - * / **, parentheses, and sin, cos, tan, tanh, exp, log, sqrt, abs of one
    argument; nothing else is evaluated.

    Raises:
        InputError: For an expression that holds anything else.
    """
    if text.isidentifier() and text not in ("x", "y"):
        raise unknown("function", text, [*SURFACES, "an expression in x and y"])
    if len(text) > _LONGEST:
        raise InputError(
            f"an expression of {len(text)} characters: expected {_LONGEST} at most; pass a function instead."
        )
    if "^" in text:
        raise InputError(f"{text!r}: a power is written with **: x**2 for x^2.")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise InputError(
            f"{text!r}: is no expression in x and y ({error}); expected one such as x**2/20 + y**2."
        ) from None
    return _compile(tree)


def _compile(node: ast.expr) -> Function2D:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            number = np.float64(as_number(value))
            return lambda x, y: number
        case ast.Name(id="x"):
            return lambda x, y: x
        case ast.Name(id="y"):
            return lambda x, y: y
        case ast.Name(id=name) if name in _CONSTANTS:
            return lambda x, y: _CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            f = _compile(inner)
            return lambda x, y: -f(x, y)
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return _compile(inner)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            do, a, b = _BINARY[type(op)], _compile(left), _compile(right)
            return lambda x, y: do(a(x, y), b(x, y))
        case ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]) if name in _CALLS:
            do, f = _CALLS[name], _compile(inner)
            return lambda x, y: do(f(x, y))
    raise InputError(
        f"{ast.unparse(node)!r}: is not among what an expression may hold: numbers, x, y, pi, e, + - * / **, "
        f"parentheses, {', '.join(_CALLS)}."
    )
