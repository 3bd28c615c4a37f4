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
def _swap(zero, size, a, m, n, b, down):
    """Write a matrix (m, n) to b with its axes swapped; down: the elements from a row of b to the next."""
    for i in range(0, m - m % 8, 8):
        for j in range(0, n - n % 8, 8):
            _square(zero, a + (i * n + j) * size, n, b + (j * down + i) * size, down)


@kernel("mmi", fast=False, rows="a", first="first")
def transpose(a, out, first):
    """Compute out[:, first : first + len(a)] = a.T."""
    m, n = a.shape
    whole = n - n % 8
    _swap(a.dtype.type(0), a.itemsize, a.ctypes.data, m, n, out.ctypes.data + first * a.itemsize, out.shape[1])
    for i in range(m):
        for j in range(whole if i < m - m % 8 else 0, n):
            out[j, first + i] = a[i, j]


@kernel("Rmi", fast=False, rows="x y")
def swap_axes(x, y, rows):
    """Compute the matrices y with the axes of x swapped; x's have so many rows."""
    columns = x.shape[1] // rows
    whole = columns - columns % 8
    for s in range(len(x)):
        of, to = x.ctypes.data + s * x.shape[1] * x.itemsize, y.ctypes.data + s * y.shape[1] * y.itemsize
        _swap(y.dtype.type(0), y.itemsize, of, rows, columns, to, rows)
        for i in range(rows):
            for j in range(whole if i < rows - rows % 8 else 0, columns):
                y[s, j * rows + i] = x[s, i * columns + j]
