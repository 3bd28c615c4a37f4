"""Matrices and pictures with their axes swapped, in squares of eight that stay in registers."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import inlined, kernel
from .product import constant

_SIDE = 8


@intrinsic
def _square(context: Any, zero: Any, a: Any, across: Any, b: Any, down: Any) -> Any:
    """Write a square of eight rows and columns to b with its axes swapped.

    a, b: addresses; across, down: the elements from a row to the next in a, and in b; zero: of the elements' dtype.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, a, across, b, down = arguments
        element, size = (ir.FloatType(), 4) if signature.args[0] == types.float32 else (ir.DoubleType(), 8)
        vector = ir.VectorType(element, _SIDE)

        def row(address: Any, i: int, step: Any) -> Any:
            pointer = builder.inttoptr(address, element.as_pointer())
            place = builder.gep(pointer, [builder.mul(step, constant(i))])
            return builder.bitcast(place, vector.as_pointer())

        rows = [builder.load(row(a, i, across), align=size) for i in range(_SIDE)]
        half = _SIDE // 2
        # To interleave the first half with the second one, as often as eight can be halved, swaps the axes.
        for _ in range(3):
            mixed = []
            for first, second in zip(rows[:half], rows[half:], strict=True):
                for start in (0, half):
                    order = [k for i in range(start, start + half) for k in (i, i + _SIDE)]
                    mask = ir.Constant(ir.VectorType(ir.IntType(32), _SIDE), order)
                    mixed.append(builder.shuffle_vector(first, second, mask))
            rows = mixed
        for i, values in enumerate(rows):
            builder.store(values, row(b, i, down), align=size)
        return context.get_dummy_value()

    return types.void(zero, *[types.int64] * 4), generate


@inlined
def _transpose(a, out, first):
    """Compute out[:, first : first + len(a)] = a.T."""
    (m, n), down, size = a.shape, out.shape[1], a.itemsize
    whole_m, whole_n = m - m % _SIDE, n - n % _SIDE
    at, to = a.ctypes.data, out.ctypes.data + first * size
    for i in range(0, whole_m, _SIDE):
        for j in range(0, whole_n, _SIDE):
            _square(a.dtype.type(0), at + (i * n + j) * size, n, to + (j * down + i) * size, down)
    for i in range(m):
        for j in range(whole_n if i < whole_m else 0, n):
            out[j, first + i] = a[i, j]


@kernel("mmi", fast=False, writes="out", rows="a", first="first")
def transpose(a, out, first):
    """Compute out[:, first : first + len(a)] = a.T."""
    _transpose(a, out, first)


@kernel("Rmi", fast=False, writes="y", rows="x y")
def swap_axes(x, y, rows):
    """Compute the matrices y with the axes of x swapped; x's have so many rows."""
    columns = x.shape[1] // rows
    for s in range(len(x)):
        _transpose(x[s].reshape(rows, columns), y[s].reshape(columns, rows), 0)
