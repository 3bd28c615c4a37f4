"""Convolutions in register tiles, without the matrix of all patches (im2col).

That matrix is never written: its element (i, k) lies at `rows[i] + columns[k]`, which are tables made once for each
shape. A tile holds some rows of a product with such a matrix in registers, as those of `product` do. Results, gradients
of the pictures and of the filters are all products of this kind; `nnx_numba._tables` has their tables. (Dukhan 2019,
"The indirect convolution algorithm", has tables of addresses; here an address is a sum of two entries.)

Beyond a picture's borders there is nothing to multiply: pixels are in groups by the elements of a filter that lie on
the picture over them. Where groups would be too small for good tiles, there is one, of pictures that are padded one at
a time, in memory that stays in the cache.
"""

from functools import cache
from textwrap import indent
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cgutils import alloca_once, for_range
from numba.extending import intrinsic

from ._jit import inlined, kernel
from .flush import begin, end
from .product import BYTES, REGISTERS, Tile, constant, last_of_row, panel_width, width

_INT, _OFFSET = ir.IntType(64), ir.IntType(32)
# By the vectors of a row, the rows of a tile. With more of them LLVM runs out of registers.
TILES = (
    {4: (6, 5, 4, 3, 2, 1), 3: (8, 6, 4, 2, 1), 2: (10, 8, 6, 4, 2, 1), 1: (16, 8, 4, 2, 1)}
    if REGISTERS == 32
    else {3: (4, 3, 2, 1), 2: (6, 4, 2, 1), 1: (8, 4, 2, 1)}
)
_LATENCY, _LOAD, _START = 4, 2, 40
"""Cycles of a multiplication, of a vector from the second-level cache, and of a tile's beginning and end, about."""


def cycles(m: int, n: int, k: int, itemsize: int) -> int:
    """Return about how many cycles a product (m, k) @ (k, n) in these tiles takes."""
    total = 0
    panels = -(-n * itemsize // BYTES)
    while panels > 0:
        vectors, left = panel_width(panels), m
        while left > 0:
            fair = _fair_share(left, TILES[vectors][0])
            rows = max(height for height in TILES[vectors] if height <= fair)
            total += k * max(rows * vectors, _LATENCY, _LOAD * vectors) + _START
            left -= rows
        panels -= vectors
    return total


def _fair_share(left: int, highest: int) -> int:
    """Return how many rows the next tile has at most: all that are left are as high as each other, about."""
    tiles = (left + highest - 1) // highest
    return (left + tiles - 1) // tiles


@cache
def _tile(rows: int, vectors: int) -> Any:
    """Make tile(zero, a, at, columns, b, lines, k, c, to, n, bias, more, times, next_a, next_b).

    It computes c[to[i]][j] = bias[j] + sum over q < k of a[at[i] + columns[q]] * b[lines[q]][j] for i < rows and j < n;
    it adds the sum to c if `more` is not 0. a, b, c, bias: addresses, that of the bias 0 for none; at, columns, lines,
    to: addresses of tables of offsets in bytes. The sum goes over so many `times` a and b; next_a, next_b: the bytes
    from one to the next. n and zero: as for the tiles of `product`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, a, at, columns, b, lines, k, c, to, n, bias, more, times, next_a, next_b = arguments
        tile = Tile(builder, signature.args[0], rows, vectors, n, last_of_row(vectors))

        def entry(table: Any, i: Any) -> Any:
            offset = builder.load(builder.gep(builder.inttoptr(table, _OFFSET.as_pointer()), [i]), align=4)
            return builder.sext(offset, _INT)

        starts = [builder.add(a, entry(at, constant(i))) for i in range(rows)]
        places = [tile.pointer(builder.add(c, entry(to, constant(i)))) for i in range(rows)]
        totals = [[alloca_once(builder, tile.vector) for _ in range(vectors)] for _ in range(rows)]
        with builder.if_else(builder.icmp_signed("!=", more, constant(0))) as (adding, beginning):
            with adding:
                for place, row in zip(places, totals, strict=True):
                    for vector, total in zip(tile.load(place), row, strict=True):
                        builder.store(vector, total)
            with beginning, builder.if_else(builder.icmp_signed("!=", bias, constant(0))) as (biased, plain):
                with biased:
                    added = tile.load(tile.pointer(bias))
                    for row in totals:
                        for vector, total in zip(added, row, strict=True):
                            builder.store(vector, total)
                with plain:
                    for row in totals:
                        for total in row:
                            builder.store(ir.Constant(tile.vector, None), total)
        with for_range(builder, times) as loop:
            from_a, from_b = builder.mul(loop.index, next_a), builder.add(b, builder.mul(loop.index, next_b))
            begins = [builder.add(start, from_a) for start in starts]
            column: dict[Any, Any] = {}

            def number(i: int, q: Any) -> Any:
                if q not in column:
                    column[q] = entry(columns, q)
                return tile.pointer(builder.add(begins[i], column[q]))

            def line(q: Any) -> Any:
                return tile.pointer(builder.add(from_b, entry(lines, q)))

            so_far = [[builder.load(total) for total in row] for row in totals]
            for row, sums in zip(totals, tile.sums(number, line, k, so_far), strict=True):
                for total, vector in zip(row, sums, strict=True):
                    builder.store(vector, total)
        for row, place in zip(totals, places, strict=True):
            tile.store([builder.load(total) for total in row], place)
        return context.get_dummy_value()

    def typed(
        context: Any,
        zero: Any,
        a: Any,
        at: Any,
        columns: Any,
        b: Any,
        lines: Any,
        k: Any,
        c: Any,
        to: Any,
        n: Any,
        bias: Any,
        more: Any,
        times: Any,
        next_a: Any,
        next_b: Any,
    ) -> Any:
        return types.void(zero, *[types.int64] * 14), generate

    return intrinsic(typed)


def _text() -> str:
    """Write `part`: columns in panels as wide as a tile, and in each the rows, in tiles as `cycles` has them."""
    cases = []
    for vectors, heights in TILES.items():
        tiles = "".join(
            f"{'if' if rows == heights[0] else 'elif'} fair >= {rows}:\n"
            f"    tile_{vectors}_{rows}(zero, a, at + 4 * i, columns, b + j * size, lines, k, "
            f"c + j * size, to + 4 * i, w, bias + j * step, more, times, next_a, next_b)\n"
            f"    i += {rows}\n"
            for rows in heights
        )
        loop = f"while i < m:\n    fair = share(m - i, {heights[0]})\n{indent(tiles, '    ')}"
        cases.append(f"if vectors == {vectors}:\n{indent(loop, '    ')}")
    return f"""def part(zero, size, a, at, columns, b, lines, c, to, m, n, k, bias, more, times, next_a, next_b):
    lanes, j, step = {BYTES} // size, 0, size if bias else 0
    while j < n:
        left = (n - j + lanes - 1) // lanes
        vectors = width(left)
        w = min(vectors * lanes, n - j)
        i = 0
{indent("el".join(cases), "        ")}
        j += w
"""


_tiles: dict[str, Any] = {
    f"tile_{vectors}_{rows}": _tile(rows, vectors) for vectors, heights in TILES.items() for rows in heights
}
_tiles |= {"width": width, "share": inlined(_fair_share)}
exec(_text(), _tiles)
_part = inlined(_tiles["part"])

# `sizes` holds height, width and channels of a picture; height and width of the padded one, and how many rows and
# columns lie before the picture in it; how many rows and columns the tables have; and for each group, from which row to
# which it goes, and from which column. `offsets` holds the tables, in bytes: where rows lie in a picture, and columns;
# which row of b belongs to a column; and where the row lies in c.


@inlined
def _pad(picture, sizes, padded):
    """Copy a picture into the middle of a padded one."""
    row, wide = sizes[1] * sizes[2], sizes[4] * sizes[2]
    place = (sizes[5] * sizes[4] + sizes[6]) * sizes[2]
    for i in range(sizes[0]):
        for j in range(row):
            padded[place + j] = picture[i * row + j]
        place += wide


_TERMS = 256
"""Of a sum of products, about, before it is added to a gradient in memory."""


def _products(x, b, c, bias, n, sizes, offsets):
    """Compute c, the products of matrices that lie in pictures x: (pictures, h * w * c), with matrices b of n columns.

    There is one b for all pictures, (1, ...), or one for each, and so with c: the sum of all products, or every single
    one. bias: (n,), added to each row, or empty.
    """
    before = begin()
    size, zero, whole = c.itemsize, c.dtype.type(0), sizes[0] == sizes[3] and sizes[1] == sizes[4]
    every = len(c) == len(x)
    several = 1 if every else max(1, _TERMS * n // b.shape[1])
    each = sizes[3] * sizes[4] * sizes[2]
    padded = np.zeros((1, 1) if whole else (several, each), c.dtype)
    next_a, next_b, next_c = each * size, b.shape[1] * size if len(b) == len(x) else 0, c.shape[1] * size
    rows = offsets.ctypes.data
    columns = rows + 4 * sizes[7]
    lines = columns + 4 * sizes[8]
    places = lines + 4 * sizes[8]
    all_a, all_b, all_c = padded.ctypes.data, b.ctypes.data, c.ctypes.data
    all_bias = bias.ctypes.data if bias.size else 0
    if whole:
        all_a = x.ctypes.data
    for s in range(0, len(x), several):
        times = min(several, len(x) - s)
        at_a, at_b, at_c = all_a, all_b + s * next_b, all_c
        if whole:
            at_a += s * next_a
        else:
            for t in range(times):
                _pad(x[s + t], sizes, padded[t])
        if every:
            at_c += s * next_c
        more = 1 if s > 0 and not every else 0
        for g in range(9, sizes.size, 4):
            row, column = 4 * sizes[g], 4 * sizes[g + 2]
            m, k = sizes[g + 1] - sizes[g], sizes[g + 3] - sizes[g + 2]
            _part(
                zero,
                size,
                at_a,
                rows + row,
                columns + column,
                at_b,
                lines + column,
                at_c,
                places + row,
                m,
                n,
                k,
                all_bias,
                more,
                times,
                next_a,
                next_b,
            )
    end(before)


convolve = kernel("RRmvilo", fast=False, writes="c", rows="x c", most=64)(_products)
"""Compute results of a convolution with filters b, or the gradients of its pictures."""
filter_gradient = kernel("RRmvilo", fast=False, writes="c", rows="x b", own="c", most=10)(_products)
"""Compute a gradient of the filters for each part of a batch, in few parts: those are added up; b: the gradients of the
results."""


@kernel("mvi", writes="out", rows="out", first="first")
def add_parts(parts, out, first):
    """Compute out, the sums of columns of `parts` from column `first` on."""
    for i in range(out.size):
        out[i] = parts[0, first + i]
    for p in range(1, len(parts)):
        for i in range(out.size):
            out[i] += parts[p, first + i]


@kernel("vlv", writes="y", rows="order y")
def arrange(x, order, y):
    """Compute y = x[order]."""
    for i in range(y.size):
        y[i] = x[order[i]]
