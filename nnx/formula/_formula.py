"""The formula: a traced function, as a list of instructions and in the languages of the backends."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..errors import InputError, InputTypeError
from ._arrays import on_arrays
from ._derivative import replaced
from ._value import COMPARISONS, Value, as_value

Instruction = tuple[str, str, tuple["str | float", ...]]
"""(the name of the result, the operation, its arguments: names of earlier results, inputs or scalars, and numbers)."""
_INFIX = ("+", "-", "*", "/", *COMPARISONS)


class Formula:
    """A function of numbers: immutable, hashable, and equal to another that computes the same under the same names.

    A backend needs no more than `inputs`, `scalars`, `outputs`, `instructions` and `results`; it may use `python` and
    `c`.

    Args:
        name: an identifier.
        function: called once with a `Value` for each input and scalar, in order; returns the outputs, several as a
            tuple.
        inputs: the names of the elements of arrays.
        outputs: the names of the results.
        scalars: the names of settings that are the same for all elements.

    Attributes:
        instructions: what is computed, in order, as `Instruction`s.
        results: for each output the name of a result, input or scalar, or a number.

    Raises:
        InputError: a name is no identifier, or the function returns another number of outputs or uses other inputs.
        InputTypeError: an output is no number.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        inputs: Iterable[str],
        outputs: Iterable[str],
        scalars: Iterable[str] = (),
    ) -> None:
        self.name = _identifier(name, "a formula's name")
        self.inputs, self.outputs, self.scalars = tuple(inputs), tuple(outputs), tuple(scalars)
        for variable in (*self.inputs, *self.scalars, *self.outputs):
            _identifier(variable, f"formula {name!r}: a variable")
        given = [Value("input", variable) for variable in (*self.inputs, *self.scalars)]
        got = function(*given)
        values = got if isinstance(got, tuple) else (got,)
        if len(values) != len(self.outputs):
            raise InputError(
                f"formula {name!r}: got {len(values)} results, expected {len(self.outputs)}: {', '.join(self.outputs)}."
            )
        self.values = tuple(as_value(v, f"formula {name!r}") for v in values)
        if any(value.truth for value in self.values):
            raise InputTypeError(f"formula {name!r}: a result is a comparison; use where(condition, 1, 0).")
        self.instructions, self.results = _linear(self.values)
        self._used = frozenset(a for _, _, args in self.instructions for a in args) | frozenset(self.results)
        strange = sorted(
            v for v in self._used if isinstance(v, str) and v[0] != "_" and v not in self.inputs + self.scalars
        )
        if strange:
            raise InputError(
                f"formula {name!r}: uses {', '.join(strange)} of another formula; expected its own inputs."
            )
        self._key = repr((name, self.inputs, self.scalars, self.outputs, self.instructions, self.results))
        self._hash = hash(self._key)

    def uses(self, variable: str) -> bool:
        """Return whether the results depend on an input or scalar."""
        return variable in self._used

    def fix(self, **known: float) -> "Formula":
        """Return the formula with numbers in place of some scalars.

        It is simplified: sums with 0, products with 0 and 1, and choices that are then decided are left out.
        """
        numbers = {Value("input", name): Value("number", float(number)) for name, number in known.items()}
        values = tuple(replaced(value, numbers) for value in self.values)
        scalars = [s for s in self.scalars if s not in known]
        return Formula(self.name, lambda *_: values, self.inputs, self.outputs, scalars)

    def only(self, *outputs: str) -> "Formula":
        """Return the formula of some of the outputs."""
        values = tuple(self.values[self.outputs.index(name)] for name in outputs)
        return Formula(self.name, lambda *_: values, self.inputs, outputs, self.scalars)

    def on_arrays(self, xp: Any, **values: Any) -> tuple[Any, ...]:
        """Compute the outputs on arrays, by Array API names: the specification.

        Args:
            xp: the arrays' namespace.
            **values: the inputs, arrays of one shape and dtype, and the scalars, 0-d arrays or numbers.

        Returns:
            The outputs in order.
        """
        known: dict[str, Any] = dict(values)
        like = values[self.inputs[0]]

        def of(a: "str | float") -> Any:
            return known[a] if isinstance(a, str) else a

        for result, op, args in self.instructions:
            known[result] = on_arrays(xp, op, [of(a) for a in args], like)
        return tuple(_shaped(xp, of(r), like) for r in self.results)

    def python(self) -> tuple[list[str], list[str]]:
        """Write the formula in Python: statements for one element, and an expression for each result.

        A variable x is written `x_`, intermediate results are `_0`, `_1` ...; a number is written `R(...)`, where R is
        the type of the elements; functions have the names of `OPERATIONS`; `inf` and `nan` have to be defined.
        """
        return self._written(lambda number: f"R({number!r})", _PYTHON, lambda op: "")

    def c(self, real: str = "REAL") -> tuple[list[str], list[str]]:
        """Write the formula in C++, as `python` does, with `real` as the type of the elements.

        `sigmoid`, `softplus`, `maximum` and `minimum` have to be defined; all other functions are the language's own.
        """
        lines, results = self._written(
            lambda number: f"{real}({_c_number(number)})", _C, lambda op: "bool " if op in COMPARISONS else f"{real} "
        )
        return [f"const {line};" for line in lines], results

    def _written(
        self, number: Callable[[float], str], forms: dict[str, str], kind: Callable[[str], str]
    ) -> tuple[list[str], list[str]]:
        def of(a: "str | float") -> str:
            return (a if a[0] == "_" else f"{a}_") if isinstance(a, str) else number(a)

        lines = []
        for name, op, args in self.instructions:
            form = f"({{}} {op} {{}})" if op in _INFIX else forms.get(op, f"{op}({', '.join(['{}'] * len(args))})")
            lines.append(f"{kind(op)}{name} = {form.format(*map(of, args))}")
        return lines, [of(r) for r in self.results]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Formula) and self._key == other._key)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        lines, results = self.python()
        body = "; ".join([*lines, *(f"{o} = {r}" for o, r in zip(self.outputs, results, strict=True))])
        return f"<formula {self.name}({', '.join((*self.inputs, *self.scalars))}): {body}>"


_PYTHON = {"neg": "(-{})"}
_C = {"neg": "(-{})", "abs": "fabs({})", "where": "({} ? {} : {})"}


def _c_number(number: float) -> str:
    return repr(number) if math.isfinite(number) else "NAN" if math.isnan(number) else f"{'-' * (number < 0)}INFINITY"


def _identifier(name: str, what: str) -> str:
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii() or name[0] == "_":
        raise InputError(f"{what}: got {name!r}, expected a name such as 'swish': letters, digits and underscores.")
    return name


def _shaped(xp: Any, value: Any, like: Any) -> Any:
    """Return a result in the inputs' shape, also one that is a number or depends on scalars alone."""
    if isinstance(value, int | float):
        return xp.full_like(like, value)
    return value if value.shape == like.shape else xp.ones_like(like) * value


def _linear(values: Sequence[Value]) -> "tuple[tuple[Instruction, ...], tuple[str | float, ...]]":
    """List the instructions of the graph, each value once, in the order in which the results need them."""
    instructions: list[Instruction] = []
    names: dict[Value, str | float] = {}

    def of(n: Value) -> "str | float":
        if n not in names:
            if n.op in ("input", "number"):
                names[n] = n.args[0]
            else:
                args = tuple(of(a) for a in n.args)
                names[n] = f"_{len(instructions)}"
                instructions.append((f"_{len(instructions)}", n.op, args))
        return names[n]

    results = tuple(of(value) for value in values)
    return tuple(instructions), results
