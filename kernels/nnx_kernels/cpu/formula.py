"""Kernels of formulas: for each family of operations a loop, whose body the formula writes.

A formula's variable x is `x_` in it (see nnx's `Formula.python`); the array of its elements is `of_x`.
"""

import math
from functools import cache
from textwrap import indent
from typing import Any

import numpy as np

from . import flush, functions
from ._jit import Kernel, from_text

Formula = Any

_SPACE: dict[str, Any] = {"__name__": __name__, "__file__": __file__}  # what they are compiled with is imported here
_SPACE |= {name: getattr(functions, name) for name in ("exp", "log", "log1p", "tanh", "erf", "sigmoid", "softplus")}
_SPACE |= {name: getattr(functions, name) for name in ("where", "maximum", "minimum")}
_SPACE |= {"sqrt": np.sqrt, "begin": flush.begin, "end": flush.end, "isfinite": math.isfinite}
_SPACE |= {"inf": math.inf, "nan": math.nan}  # as Python writes them


def _kernel(name: str, arguments: list[str], signature: str, body: str, **split: Any) -> Kernel:
    text = f"def {name}({', '.join(arguments)}):\n{indent(body, '    ')}"
    return Kernel(from_text(name, text, _SPACE), signature, fast=True, **split)


def _statements(formula: Formula, index: str) -> tuple[str, list[str]]:
    """Write the loop's body up to the results: it loads the elements at an index and computes with them."""
    lines, results = formula.python()
    return "\n".join([*(f"{x}_ = of_{x}[{index}]" for x in formula.inputs if formula.uses(x)), *lines]), results


@cache
def update(formula: Formula) -> Kernel:
    """Make kernel(*arrays, hyper, guard, first, decay): it updates the elements, of which the first is number `first`.

    decay: how many of all are under weight decay. guard: nothing is updated unless its number, if it has one, is
    finite. The kernel works on slices that start at 0: over a range that starts anywhere, indices might be negative for
    all that LLVM knows, and it would not vectorise.
    """
    body, results = _statements(formula, "i")
    arrays = [f"of_{x}" for x in formula.inputs]
    scalars = {s: f"hyper[{k}]" for k, s in enumerate(formula.scalars)}
    if "weight_decay" in scalars:
        scalars["weight_decay"] += " if decayed else R(0)"
    writes = reversed(list(zip(formula.outputs, results, strict=True)))  # the parameters last: some are faster so
    stores = "\n".join(f"of_{x}[i] = {result}" for x, result in writes)
    part = "\n".join(
        [
            "low, high = (0, middle) if decayed else (middle, size)",
            *(f"{s}_ = {value}" for s, value in scalars.items()),
            *(f"{a} = all_{a}[low:high]" for a in arrays),
            f"for i in range({arrays[0]}.size):\n{indent(body, '    ')}\n{indent(stores, '    ')}",
        ]
    )
    whole = f"all_{arrays[0]}"
    text = (
        f"if guard.size and not isfinite(guard[0]):\n    return\nR, size = {whole}.dtype.type, {whole}.size\n"
        f"middle = min(max(decay - first, 0), size)\nbefore = begin()\n"
        f"for decayed in (True, False):\n{indent(part, '    ')}\nend(before)\n"
    )
    every = [f"all_{a}" for a in arrays]
    arguments = [*every, "hyper", "guard", "first", "decay"]
    signature, written = "v" * len(arrays) + "vvii", [f"all_of_{x}" for x in formula.outputs]
    return _kernel(f"update_{formula.name}", arguments, signature, text, writes=written, rows=every, first="first")


@cache
def activation(formula: Formula) -> Kernel:
    """Make kernel(x, y), for all elements in a row."""
    body, (result,) = _statements(formula, "i")
    text = f"R = of_x.dtype.type\nfor i in range(out.size):\n{indent(body, '    ')}\n    out[i] = {result}\n"
    return _kernel(f"activation_{formula.name}", ["of_x", "out"], "vv", text, writes=["out"], rows=["of_x", "out"])


@cache
def after_product(formula: Formula) -> Kernel:
    """Make kernel(y, b): y becomes the formula of y + b, row by row."""
    lines, (result,) = formula.python()
    body = "\n".join(["x_ = y[i, j] + b[j]", *lines, f"y[i, j] = {result}"])
    text = f"R = y.dtype.type\nfor i in range(y.shape[0]):\n    for j in range(y.shape[1]):\n{indent(body, ' ' * 8)}\n"
    return _kernel(f"add_bias_{formula.name}", ["y", "b"], "mv", text, writes="y", rows="y")


@cache
def activation_backward(formula: Formula) -> Kernel:
    """Make kernel(*those of dy, x, y that it uses, dx, db); db: dx's column sums, or empty where nobody wants them."""
    body, (result,) = _statements(formula, "i, j")
    inputs = [f"of_{x}" for x in formula.inputs if formula.uses(x)]
    text = (
        "R = dx.dtype.type\ndb[:] = 0\nfor i in range(dx.shape[0]):\n    for j in range(dx.shape[1]):\n"
        f"{indent(body, ' ' * 8)}\n        dx[i, j] = {result}\n"
        "    for j in range(db.size):\n        db[j] += dx[i, j]\n"
    )
    every = [*inputs, "dx"]
    signature, written = "m" * len(every) + "v", ["dx", "db"]
    kernel = _kernel(
        f"{formula.name}_backward", [*every, "db"], signature, text, writes=written, rows=every, sums=["db"]
    )
    kernel.inputs = [i for i, x in enumerate(formula.inputs) if formula.uses(x)]
    return kernel


@cache
def loss(formula: Formula) -> Kernel:
    """Make kernel(z, t, hyper, weight, bias, dz, db, sums, of): sums[0] is the sum of the losses of z + bias.

    dz: their gradient / of; db: its column sums. weight: factors of the rows, or empty. of: the number of rows of the
    whole batch, of which z may be a part.
    """
    lines, (value, gradient) = formula.python()
    scalars = "".join(f"{s}_ = hyper[{k}]\n" for k, s in enumerate(formula.scalars))
    body = "\n".join([*lines, f"row += {value}", f"dz[i, j] = ({gradient}) * factor"])
    text = f"""R = z.dtype.type
{scalars}share = R(1) / R(of)
total = 0.0
db[:] = 0
for i in range(z.shape[0]):
    row = R(0)
    w = weight[i] if weight.size else R(1)
    factor = w * share
    if bias.size:
        for j in range(z.shape[1]):
            z_, t_ = z[i, j] + bias[j], of_t[i, j]
{indent(body, " " * 12)}
    else:
        for j in range(z.shape[1]):
            z_, t_ = z[i, j], of_t[i, j]
{indent(body, " " * 12)}
    total += w * row
    for j in range(db.size):
        db[j] += dz[i, j]
sums[0] = total
"""
    names = ["z", "of_t", "hyper", "weight", "bias", "dz", "db", "sums", "of"]
    rows, sums = ["z", "of_t", "weight", "dz"], ["db", "sums"]
    return _kernel(f"loss_{formula.name}", names, "mmvvvmvdi", text, writes=["dz", *sums], rows=rows, sums=sums)
