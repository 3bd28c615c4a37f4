"""A case: an operation, its inputs, and how near to the reference its results have to be."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np

from ..formula import Formula
from ..ops import spec
from . import _reference

Inputs: TypeAlias = "dict[str, Any]"
Maker: TypeAlias = "Callable[[np.random.Generator], Inputs]"
Tolerance: TypeAlias = "tuple[float, float]"
"""For float32 and for float64: |got - expected| <= tolerance + tolerance * |expected|."""

EXACT: Tolerance = (0.0, 0.0)
ROUNDING: Tolerance = (2e-6, 1e-14)
"""Some ten roundings of numbers of order one, and functions such as exp within 2 units in the last place."""
SUMS: Tolerance = (2e-5, 1e-13)
"""Sums over up to about five hundred numbers of order one, in any order."""

FLOATS = ("float32", "float64")


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Args:
        op: the operation.
        id: the case's name.
        make: makes the inputs by argument name, from a generator; float64 arrays are cast to the dtype under test.
        tolerance: how near the results have to be to the reference, for float32 and float64.
        dtypes: those under test.
        nan: the argument in which the last element's NaN has to reach the results, if any.
        exact: buffers that have to be equal to the reference, whatever the tolerance.
        unspecified: buffers whose values the specification leaves open here (they must still not be overrun).
        formula: the formula, for an operation that takes one.
    """

    op: str
    id: str
    make: Maker
    tolerance: Tolerance = ROUNDING
    dtypes: tuple[str, ...] = FLOATS
    nan: str | None = None
    exact: tuple[str, ...] = ()
    unspecified: tuple[str, ...] = ()
    formula: Formula | None = None

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The operation's arguments without the leading `ops`."""
        named = dict(inspect.signature(getattr(spec, self.op)).parameters)
        if self.formula is not None and "arrays" in named:  # any number of them
            arrays = {name: Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in self.formula.inputs}
            named = {n: q for name, p in named.items() for n, q in (arrays if name == "arrays" else {name: p}).items()}
        return {name: p for name, p in named.items() if name != "ops"}

    def inputs(self, dtype: str, draw: int = 0) -> Inputs:
        """Make the arguments; each draw has other numbers of the same shapes, the same in every run."""
        generator = np.random.default_rng([crc32(f"{self.op} {self.id}".encode()), draw])
        inputs = {
            name: value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype == np.float64 else value
            for name, value in self.make(generator).items()
        }
        if self.formula is not None:
            inputs["formula"] = self.formula
        return inputs | {"dtype": dtype} if "dtype" in self.parameters else inputs

    def expected(self, inputs: Inputs) -> _reference.Written:
        """Return results and written arguments by name: floating ones in float64, others in their own dtype."""
        return _reference.expected(self.op, inputs)

    def allowed(self, dtype: str, name: str = "result") -> float:
        """Return the tolerance of a result or written argument."""
        return 0.0 if name in self.exact else self.tolerance[dtype == "float64"]


def cases(op: str, makers: dict[str, Maker], tolerance: Tolerance = ROUNDING, **flags: Any) -> list[Case]:
    """Make the cases of one operation that differ in nothing but the inputs."""
    return [Case(op, name, make, tolerance, **flags) for name, make in makers.items()]
