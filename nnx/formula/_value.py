"""A number in a formula, known only by how it is computed, and the functions of such numbers."""

from numbers import Real
from typing import Any
from weakref import WeakValueDictionary

from ..errors import InputTypeError

Number = Any
"""What a formula computes with: a traced `Value`, or a Python number."""

OPERATIONS = {
    **dict.fromkeys(("neg", "exp", "log", "log1p", "sqrt", "tanh", "erf", "abs", "sigmoid", "softplus"), 1),
    **dict.fromkeys(("+", "-", "*", "/", "<", "<=", ">", ">=", "maximum", "minimum"), 2),
    "where": 3,
}
"""What instructions do, with the number of their arguments. sigmoid(x) is 1 / (1 + exp(-x)), softplus(x) is
log(1 + exp(x)); neither overflows. maximum and minimum are NaN where one of theirs is."""
COMPARISONS = ("<", "<=", ">", ">=")


_made: "WeakValueDictionary[Any, Value]" = WeakValueDictionary()


class Value:
    """A number in a formula, known only by how it is computed: an operation and its arguments."""

    __slots__ = ("__weakref__", "args", "op")
    op: str
    args: tuple[Any, ...]

    def __new__(cls, op: str, *args: Any) -> "Value":
        """Return the same object for equal values: the graph is compared by identity."""
        key = (op, *(repr(a) if isinstance(a, float) else a for a in args))
        value = _made.get(key)
        if value is None:
            value = object.__new__(cls)
            value.op, value.args = op, args
            value = _made.setdefault(key, value)
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        """Make equal values one object also where they are copied or unpickled."""
        return Value, (self.op, *self.args)

    @property
    def truth(self) -> bool:
        """Whether it is the result of a comparison."""
        return self.op in COMPARISONS

    def __bool__(self) -> bool:
        raise InputTypeError("a formula cannot branch on a value; use where(condition, a, b).")

    def __float__(self) -> float:
        raise InputTypeError(
            f"a value of a formula is no number yet; use the functions of nnx.formula: {', '.join(FUNCTIONS)}."
        )

    __int__ = __index__ = __float__

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        float(self)

    def __array_ufunc__(self, ufunc: Any, *args: Any, **kwargs: Any) -> Any:
        name = {"add": "+", "subtract": "-", "multiply": "*", "true_divide": "/"}.get(ufunc.__name__)
        raise InputTypeError(
            f"NumPy's {ufunc.__name__} got a value of a formula; "
            + (f"expected Python numbers beside {name!r}." if name else "use the functions of nnx.formula: ")
            + ("" if name else f"{', '.join(FUNCTIONS)}.")
        )

    def __add__(self, other: Number) -> "Value":
        return _apply("+", self, other)

    def __radd__(self, other: Number) -> "Value":
        return _apply("+", other, self)

    def __sub__(self, other: Number) -> "Value":
        return _apply("-", self, other)

    def __rsub__(self, other: Number) -> "Value":
        return _apply("-", other, self)

    def __mul__(self, other: Number) -> "Value":
        return _apply("*", self, other)

    def __rmul__(self, other: Number) -> "Value":
        return _apply("*", other, self)

    def __truediv__(self, other: Number) -> "Value":
        return _apply("/", self, other)

    def __rtruediv__(self, other: Number) -> "Value":
        return _apply("/", other, self)

    def __pow__(self, power: int) -> "Value":
        if type(power) is not int or power < 1:
            raise InputTypeError(f"a formula's power: got {power!r}, expected a whole number of at least 1.")
        return self if power == 1 else self ** (power - 1) * self

    def __neg__(self) -> "Value":
        return _apply("neg", self)

    def __abs__(self) -> "Value":
        return _apply("abs", self)

    def __lt__(self, other: Number) -> "Value":
        return _apply("<", self, other)

    def __le__(self, other: Number) -> "Value":
        return _apply("<=", self, other)

    def __gt__(self, other: Number) -> "Value":
        return _apply(">", self, other)

    def __ge__(self, other: Number) -> "Value":
        return _apply(">=", self, other)

    def __repr__(self) -> str:
        return f"<value {self.args[0] if self.op in ('input', 'number') else self.op} of a formula>"


def as_value(x: Number, what: str) -> Value:
    if isinstance(x, Value):
        return x
    if isinstance(x, bool) or not isinstance(x, Real):
        hint = " (== and != are no comparisons of a formula; use <, <=, > or >=)" if isinstance(x, bool) else ""
        raise InputTypeError(f"{what}: got {x!r}, expected a value of the formula or a number{hint}.")
    return Value("number", float(x))


def _apply(op: str, *args: Number) -> Value:
    values = [as_value(a, op) for a in args]
    for i, value in enumerate(values):
        if value.truth != (op == "where" and i == 0):
            wanted = (
                "a comparison such as x > 0" if op == "where" and i == 0 else "a number: use where(condition, 1, 0)"
            )
            raise InputTypeError(f"{op}: got {value!r}, expected {wanted}.")
    return Value(op, *values)


# The functions of formulas --------------------------------------------------------------------------------------------


def exp(x: Number) -> Value:
    """Return e to the power of x."""
    return _apply("exp", x)


def log(x: Number) -> Value:
    """Return the natural logarithm."""
    return _apply("log", x)


def log1p(x: Number) -> Value:
    """Return log(1 + x), accurate where x is small."""
    return _apply("log1p", x)


def sqrt(x: Number) -> Value:
    """Return the square root."""
    return _apply("sqrt", x)


def tanh(x: Number) -> Value:
    """Return the hyperbolic tangent."""
    return _apply("tanh", x)


def erf(x: Number) -> Value:
    """Return the error function, 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""
    return _apply("erf", x)


def abs(x: Number) -> Value:  # noqa: A001  the field's name
    """Return the absolute value."""
    return _apply("abs", x)


def sign(x: Number) -> Value:
    """Return -1 or 1, or x itself where it is 0 or NaN."""
    return where(x > 0, 1.0, where(x < 0, -1.0, x))


def where(condition: Value, a: Number, b: Number) -> Value:
    """Return a where the condition, a comparison, holds, else b. Both are computed."""
    return _apply("where", condition, a, b)


def maximum(a: Number, b: Number) -> Value:
    """Return the greater of a and b; NaN where one is NaN."""
    return _apply("maximum", a, b)


def minimum(a: Number, b: Number) -> Value:
    """Return the lesser of a and b; NaN where one is NaN."""
    return _apply("minimum", a, b)


def sigmoid(x: Number) -> Value:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return _apply("sigmoid", x)


def softplus(x: Number) -> Value:
    """Return log(1 + exp(x)), without overflow."""
    return _apply("softplus", x)


FUNCTIONS = (
    *("exp", "log", "log1p", "sqrt", "tanh", "erf", "abs", "sign"),
    *("where", "maximum", "minimum", "sigmoid", "softplus"),
)
