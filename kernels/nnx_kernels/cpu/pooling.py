"""Pooling in vectors of channels.

What a pixel of a result is made of, a window of the pictures or, of a gradient, the windows that lie over a pixel, is a
product of two lists: one for its row and one for its column. An entry is an offset, in numbers, and the number of an
element of the window; the offsets of both lists are added up, and so are the elements. `nnx_numba._tables` makes them.
"""

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import alloca_once
from numba.extending import intrinsic

from ._jit import inlined, kernel
from .product import BYTES, Tile, constant

_LANE, _BYTE, _OFFSET = ir.IntType(32), ir.IntType(8), ir.IntType(32)


class _Loop:
    """A loop over the numbers below a count: `with _Loop(builder, count) as i`."""

    def __init__(self, builder: Any, count: Any) -> None:
        self._builder, self._count = builder, count

    def __enter__(self) -> Any:
        builder = self._builder
        before = builder.block
        self._head, body, self._done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
        builder.branch(self._head)
        builder.position_at_end(self._head)
        self._i = builder.phi(self._count.type)
        self._i.add_incoming(ir.Constant(self._count.type, 0), before)
        builder.cbranch(builder.icmp_signed("<", self._i, self._count), body, self._done)
        builder.position_at_end(body)
        return self._i

    def __exit__(self, *exception: object) -> None:
        builder = self._builder
        self._i.add_incoming(builder.add(self._i, ir.Constant(self._count.type, 1)), builder.block)
        builder.branch(self._head)
        builder.position_at_end(self._done)


@cache
def _vector(kind: str, whole: bool) -> Any:
    """Make vector(zero, x, index, down, rows, side, columns, y, which, n, share), for a vector of channels.

    x, y: addresses of numbers of pictures; index, which: those of elements of windows, one byte each; down, side:
    addresses of lists, which have so many `rows` and `columns`; n: how many channels, all that a vector has if `whole`;
    share: a factor.

    - "greatest": y becomes the greatest number, and `which` its element.
    - "chosen": y becomes the sum of those numbers whose window's `index` is the element.
    - "sum": y becomes the sum, times `share`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, x, index, down, rows, side, columns, y, which, n, share = arguments
        tile = Tile(builder, signature.args[0], 1, 1, n, "whole" if whole else "masked")
        lanes = ir.VectorType(_LANE, tile.lanes)
        total, element = alloca_once(builder, tile.vector), alloca_once(builder, lanes)
        first = -float("inf") if kind == "greatest" else 0.0
        builder.store(ir.Constant(tile.vector, [first] * tile.lanes), total)
        builder.store(ir.Constant(lanes, [-1] * tile.lanes), element)

        def entry(table: Any, i: Any) -> list[Any]:
            pointer = builder.inttoptr(table, _OFFSET.as_pointer())
            place = builder.mul(i, constant(2))
            pair = (builder.gep(pointer, [builder.add(place, constant(k))]) for k in range(2))
            return [builder.load(p, align=4) for p in pair]

        with _Loop(builder, rows) as i:
            start, number = entry(down, i)
            with _Loop(builder, columns) as j:
                offset, other = entry(side, j)
                place = builder.sext(builder.add(start, offset), ir.IntType(64))
                k = tile.splat(builder.add(number, other))
                given = tile.load(builder.gep(tile.pointer(x), [place]))[0]
                so_far = builder.load(total)
                if kind == "greatest":
                    greater = builder.fcmp_ordered(">", given, so_far)
                    nan = builder.and_(
                        builder.fcmp_unordered("uno", given, given), builder.fcmp_ordered("ord", so_far, so_far)
                    )
                    none = builder.icmp_signed("<", builder.load(element), ir.Constant(lanes, [0] * tile.lanes))
                    taken = builder.or_(builder.or_(greater, nan), none)
                    builder.store(builder.select(taken, given, so_far), total)
                    builder.store(builder.select(taken, k, builder.load(element)), element)
                elif kind == "chosen":
                    bytes_ = builder.gep(builder.inttoptr(index, _BYTE.as_pointer()), [place])
                    chosen = builder.icmp_signed("==", builder.zext(tile.load_bytes(bytes_), lanes), k)
                    added = builder.fadd(so_far, given)
                    builder.store(builder.select(chosen, added, so_far), total)
                else:
                    builder.store(builder.fadd(so_far, given), total)
        result = builder.load(total)
        if kind == "sum":
            result = builder.fmul(result, tile.splat(share))
        tile.store([result], tile.pointer(y))
        if kind == "greatest":
            small = builder.trunc(builder.load(element), ir.VectorType(_BYTE, tile.lanes))
            tile.store_bytes(small, builder.inttoptr(which, _BYTE.as_pointer()))
        return context.get_dummy_value()

    def typed(
        context: Any,
        zero: Any,
        x: Any,
        index: Any,
        down: Any,
        rows: Any,
        side: Any,
        columns: Any,
        y: Any,
        which: Any,
        n: Any,
        share: Any,
    ) -> Any:
        return types.void(zero, *[types.int64] * 9, zero), generate

    return intrinsic(typed)


_greatest, _greatest_rest = _vector("greatest", True), _vector("greatest", False)
_chosen, _chosen_rest = _vector("chosen", True), _vector("chosen", False)
_sum, _sum_rest = _vector("sum", True), _vector("sum", False)


@inlined
def _list(at, entries, i):
    """Return the address of a pixel's list, and how many entries it has."""
    return entries.ctypes.data + 8 * at[i], at[i + 1] - at[i]


@kernel("RmPioooo", fast=False, writes="y index", rows="x y index", most=64)
def max_pooling(x, y, index, c, down_at, down, side_at, side):
    """Compute the greatest number of each window, and which element it is; NaN is greater than all others."""
    size, lanes, zero = y.itemsize, BYTES // y.itemsize, y.dtype.type(0)
    for s in range(len(x)):
        of, to = x.ctypes.data + s * x.shape[1] * size, y.ctypes.data + s * y.shape[1] * size
        which = index.ctypes.data + s * y.shape[1]
        for u in range(down_at.size - 1):
            rows, m = _list(down_at, down, u)
            for v in range(side_at.size - 1):
                columns, n = _list(side_at, side, v)
                j = 0
                while j + lanes <= c:
                    _greatest(zero, of + j * size, 0, rows, m, columns, n, to, which, lanes, zero)
                    to += lanes * size
                    which += lanes
                    j += lanes
                if j < c:
                    _greatest_rest(zero, of + j * size, 0, rows, m, columns, n, to, which, c - j, zero)
                    to += (c - j) * size
                    which += c - j


@kernel("RPmioooo", fast=False, writes="dx", rows="dy index dx", most=64)
def max_pooling_backward(dy, index, dx, c, down_at, down, side_at, side):
    """Compute dx: dy at the elements of the windows that were the greatest, added up."""
    size, lanes, zero = dx.itemsize, BYTES // dx.itemsize, dx.dtype.type(0)
    for s in range(len(dy)):
        of, to = dy.ctypes.data + s * dy.shape[1] * size, dx.ctypes.data + s * dx.shape[1] * size
        which = index.ctypes.data + s * dy.shape[1]
        for u in range(down_at.size - 1):
            rows, m = _list(down_at, down, u)
            for v in range(side_at.size - 1):
                columns, n = _list(side_at, side, v)
                j = 0
                while j + lanes <= c:
                    _chosen(zero, of + j * size, which + j, rows, m, columns, n, to, 0, lanes, zero)
                    to += lanes * size
                    j += lanes
                if j < c:
                    _chosen_rest(zero, of + j * size, which + j, rows, m, columns, n, to, 0, c - j, zero)
                    to += (c - j) * size


@kernel("Rmivoooo", fast=False, writes="y", rows="x y", most=64)
def sums(x, y, c, share, down_at, down, side_at, side):
    """Compute the sums over the lists, times share[0]: means of windows, or the gradient of those."""
    size, lanes, zero = y.itemsize, BYTES // y.itemsize, y.dtype.type(0)
    for s in range(len(x)):
        of, to = x.ctypes.data + s * x.shape[1] * size, y.ctypes.data + s * y.shape[1] * size
        for u in range(down_at.size - 1):
            rows, m = _list(down_at, down, u)
            for v in range(side_at.size - 1):
                columns, n = _list(side_at, side, v)
                j = 0
                while j + lanes <= c:
                    _sum(zero, of + j * size, 0, rows, m, columns, n, to, 0, lanes, share[0])
                    to += lanes * size
                    j += lanes
                if j < c:
                    _sum_rest(zero, of + j * size, 0, rows, m, columns, n, to, 0, c - j, share[0])
                    to += (c - j) * size
