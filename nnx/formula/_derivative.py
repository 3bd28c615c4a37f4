"""The derivative of a value, and simpler values where some numbers are known."""

import math
from collections.abc import Callable, Sequence

from ._value import COMPARISONS, Number, Value, as_value, exp, sigmoid, sign

_ZERO, _ONE = Value("number", 0.0), Value("number", 1.0)


def simplified(op: str, args: Sequence[Value]) -> Value:
    """Return the value of an operation, without additions of 0 and products with 0 or 1; only exact zeros count."""
    a, b = args[0], args[1] if len(args) == 2 else None
    match op:
        case "+" if a is _ZERO:
            return args[1]
        case "+" | "-" if b is _ZERO:
            return a
        case "-" if a is _ZERO:
            return simplified("neg", args[1:])
        case "*" if _ZERO in args:
            return _ZERO
        case "*" if a is _ONE:
            return args[1]
        case "*" | "/" if b is _ONE:
            return a
        case "/" | "neg" if a is _ZERO:
            return _ZERO
        case "where" if args[1] is args[2]:
            return args[1]
        case "where" if a.op in ("true", "false"):
            return args[1] if a.op == "true" else args[2]
    if op in COMPARISONS and a.op == "number" and b is not None and b.op == "number":
        x, y = a.args[0], b.args[0]
        return Value("true" if {"<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}[op] else "false")
    return Value(op, *args)


def replaced(value: Value, known: dict[Value, Value]) -> Value:
    """Replace some of the values that a value is computed from, and simplify where the new ones are numbers.

    Args:
        value: what to compute.
        known: the values to replace, and what replaces them.
    """
    done = dict(known)

    def walk(n: Value) -> Value:
        if n not in done:
            done[n] = n if n.op in ("input", "number") else simplified(n.op, [walk(a) for a in n.args])
        return done[n]

    return walk(value)


def derivative(of: Value, by: Value) -> Value:
    """Return the derivative of a value by an input, as another value.

    At a kink: maximum and minimum of equal arguments have the derivative of the second one, abs has 0 at 0, and `where`
    has that of the branch it takes.

    Args:
        of: the value to differentiate.
        by: the input.
    """
    known: dict[Value, Value] = {by: _ONE}

    def apply(op: str, *args: Number) -> Value:
        return simplified(op, [as_value(a, op) for a in args])

    def walk(n: Value) -> Value:
        if n not in known:
            known[n] = _ZERO if n.op in ("input", "number", *COMPARISONS) else chain(n)
        return known[n]

    def chain(n: Value) -> Value:
        a = n.args[0]
        da = walk(a)
        b, db = (n.args[1], walk(n.args[1])) if len(n.args) == 2 else (a, da)
        match n.op:
            case "+" | "-":
                return apply(n.op, da, db)
            case "*":
                return apply("+", apply("*", da, b), apply("*", a, db))
            case "/":
                return apply("-", apply("/", da, b), apply("*", apply("/", n, b), db))
            case "where":
                return apply("where", a, walk(n.args[1]), walk(n.args[2]))
            case "maximum":
                return apply("where", a > b, da, db)
            case "minimum":
                return apply("where", a < b, da, db)
        return apply("*", _SLOPES[n.op](a, n), da)

    return walk(of)


_SLOPES: dict[str, Callable[[Value, Value], Number]] = {
    "neg": lambda x, y: -1.0,
    "exp": lambda x, y: y,
    "log": lambda x, y: 1.0 / x,
    "log1p": lambda x, y: 1.0 / (1.0 + x),
    "sqrt": lambda x, y: 0.5 / y,
    "tanh": lambda x, y: 1.0 - y * y,
    "erf": lambda x, y: 2.0 / math.sqrt(math.pi) * exp(-(x * x)),
    "abs": lambda x, y: sign(x),
    "sigmoid": lambda x, y: y * (1.0 - y),
    "softplus": lambda x, y: sigmoid(x),
}
"""The derivative of a function, from its argument x and its value y."""
