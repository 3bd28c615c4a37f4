"""One formula, every backend: a function of numbers, traced once into a graph, from which everything else follows.

    swish = Formula("swish", lambda x: x * sigmoid(x), ["x"], ["y"])

The graph is evaluated on arrays of any namespace (the specification), differentiated, and written as the body of a
Python loop, which Numba compiles, and of a CUDA kernel. An expression that occurs twice in a formula is computed once.
"""

from typing import Any

from ..errors import unknown
from ._derivative import derivative, replaced
from ._formula import Formula, Instruction
from ._value import (
    FUNCTIONS,
    OPERATIONS,
    Number,
    Value,
    abs,  # noqa: A004  the field's name
    erf,
    exp,
    log,
    log1p,
    maximum,
    minimum,
    sigmoid,
    sign,
    softplus,
    sqrt,
    tanh,
    where,
)

__all__ = [
    "FUNCTIONS",
    "OPERATIONS",
    "Formula",
    "Instruction",
    "Number",
    "Value",
    "abs",
    "derivative",
    "erf",
    "exp",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "replaced",
    "sigmoid",
    "sign",
    "softplus",
    "sqrt",
    "tanh",
    "where",
]


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    raise AttributeError(str(unknown("function of formulas", name, FUNCTIONS)))
