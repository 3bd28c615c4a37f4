"""Products of matrices in register tiles.

A tile holds some rows of the result, each in a few vectors, in registers while it runs along the inner dimension: for
each step it loads a row of b once, and multiplies it by one number of each row of a. Nothing is packed, so this pays
while b's panel stays in the second-level cache. The vectors are LLVM's. A number of the result is one chain of fused
multiplications, in order: its bits depend on nothing else.
"""

from collections.abc import Callable
from functools import cache
from textwrap import indent
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core.cgutils import alloca_once
from numba.extending import intrinsic

from ._jit import FLOATS, inlined, kernel, merged
from .flush import X86, begin, end
from .team import ACROSS, COUNT, FUNCTION, HEAD, MOVE, MOVES, PARTS, PATIENCE, declare, put

_INT, _LANE, _BIT = ir.IntType(64), ir.IntType(32), ir.IntType(1)
_FEATURES = binding.get_host_cpu_features()


def _registers() -> tuple[int, int]:
    """Return the bytes of a vector register, and how many there are."""
    if _FEATURES.get("avx512f"):
        return 64, 32
    if _FEATURES.get("avx2"):
        return 32, 16
    return 16, 32 if _FEATURES.get("neon") else 16


def constant(value: int) -> Any:
    """Return a whole number as LLVM has it."""
    return ir.Constant(_INT, value)


BYTES, REGISTERS = _registers()
FUSED = not X86 or bool(_FEATURES.get("fma"))
"""Whether the processor multiplies and adds at once. Elsewhere a tile would call a function for each number."""
# By the vectors of a row, the rows of a tile: accumulators, a row of b and a number of a fill the registers. What is
# left of the rows goes through lower tiles.
TILES = (
    {4: (6, 3, 1), 3: (8, 4, 1), 2: (12, 4, 1), 1: (24, 6, 1)}
    if REGISTERS == 32
    else {3: (4, 2, 1), 2: (6, 3, 1), 1: (12, 4, 1)}
)
_WIDEST = max(TILES)
_HALVES = BYTES == 64
"""Whether a tile whose last vector is at most half used has one of half the length there. That is half of its work on
processors that do 64 bytes in two goes, and no more on others."""


@cache
def _tile(rows: int, vectors: int, half: bool = False) -> Any:
    """Make tile(zero, a, rsa, csa, b, rsb, k, c, n, i, j).

    It computes c[i + r, j + s] = sum over q < k of a[i + r, q] * b[q, j + s] for r < rows and s < n. a, b, c:
    addresses; rsa, csa, rsb: the elements from a row to the next, or a column to the next; rsb is c's, too. n: more
    than `vectors - 1` vectors, and no more than `vectors`, or half a vector less with `half`. zero: of the elements'
    dtype.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, a, rsa, csa, b, rsb, k, c, n, i, j = arguments
        tile = Tile(builder, signature.args[0], rows, vectors, n, half=half)
        a, b, c = tile.pointer(a), tile.pointer(b), tile.pointer(c)
        # Numba takes longer over arithmetic than LLVM does, and there are many tiles.
        a, b = builder.gep(a, [builder.mul(i, rsa)]), builder.gep(b, [j])
        c = builder.gep(c, [builder.add(builder.mul(i, rsb), j)])
        starts = [builder.gep(a, [builder.mul(rsa, constant(i))]) for i in range(rows)]

        def number(i: int, q: Any) -> Any:
            return builder.gep(starts[i], [builder.mul(q, csa)])

        def line(q: Any) -> Any:
            return builder.gep(b, [builder.mul(q, rsb)])

        sums = tile.sums(number, line, k)
        for i, row in enumerate(sums):
            tile.store(row, builder.gep(c, [builder.mul(rsb, constant(i))]))
        return context.get_dummy_value()

    def typed(
        context: Any, zero: Any, a: Any, rsa: Any, csa: Any, b: Any, rsb: Any, k: Any, c: Any, n: Any, i: Any, j: Any
    ) -> Any:
        return types.void(zero, *[types.int64] * 10), generate

    return intrinsic(typed)


class Tile:
    """Writes the vector code of a tile: some rows, each of a few vectors, of which the last one may be partly used.

    Args:
        builder: LLVM's.
        kind: Numba's type of the elements.
        rows: of the tile.
        vectors: of a row.
        n: how many elements a row has.
        whole: whether the last vector is used whole.
        half: whether the last vector is half as long as the others.
    """

    def __init__(
        self, builder: Any, kind: Any, rows: int, vectors: int, n: Any, whole: bool = False, half: bool = False
    ) -> None:
        self.builder, self.rows, self.vectors, self._whole = builder, rows, vectors, whole
        self.element, self.size = (ir.FloatType(), 4) if kind == types.float32 else (ir.DoubleType(), 8)
        self.lanes = BYTES // self.size
        self.vector = ir.VectorType(self.element, self.lanes)
        self._tail = ir.VectorType(self.element, self.lanes // (2 if half else 1))
        self._kinds = [self.vector] * (vectors - 1) + [self._tail]
        self._fma = {kind: self._function("fma", kind, [kind] * 3, kind) for kind in (self.vector, self._tail)}
        places = ir.Constant(ir.VectorType(_INT, self._tail.count), [constant(i) for i in range(self._tail.count)])
        left = builder.sub(n, constant((vectors - 1) * self.lanes))
        self._last = builder.icmp_signed("<", places, self.splat(left, self._tail.count))

    def _function(self, name: str, result: Any, given: list[Any], kind: Any) -> Any:
        """Declare one of LLVM's functions on vectors of a kind."""
        element = {"float": "f32", "double": "f64", "i8": "i8"}[str(kind.element)]
        end = ".p0" if name.startswith("masked") else ""
        return declare(self.builder.module, f"llvm.{name}.v{kind.count}{element}{end}", result, given)

    def pointer(self, address: Any) -> Any:
        return self.builder.inttoptr(address, self.element.as_pointer())

    def splat(self, value: Any, lanes: int | None = None) -> Any:
        lanes = lanes or self.lanes
        kind = ir.VectorType(value.type, lanes)
        single = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_LANE, 0))
        every = ir.Constant(ir.VectorType(_LANE, lanes), None)
        return self.builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), every)

    def _place(self, pointer: Any, j: int) -> Any:
        place = self.builder.gep(pointer, [constant(j * self.lanes)])
        return self.builder.bitcast(place, self._kinds[j].as_pointer())

    def load(self, pointer: Any) -> list[Any]:
        """Load a row."""
        row = [self.builder.load(self._place(pointer, j), align=self.size) for j in range(self.vectors - 1)]
        return [*row, self._load_last(self._place(pointer, self.vectors - 1), self._tail, self.size)]

    def store(self, row: list[Any], pointer: Any) -> None:
        """Store a row."""
        for j, vector in enumerate(row[:-1]):
            self.builder.store(vector, self._place(pointer, j), align=self.size)
        self._store_last(row[-1], self._place(pointer, self.vectors - 1), self.size)

    def load_bytes(self, pointer: Any) -> Any:
        """Load a byte for each element of the last vector."""
        kind = ir.VectorType(ir.IntType(8), self.lanes)
        return self._load_last(self.builder.bitcast(pointer, kind.as_pointer()), kind, 1)

    def store_bytes(self, vector: Any, pointer: Any) -> None:
        """Store a byte for each element of the last vector."""
        self._store_last(vector, self.builder.bitcast(pointer, vector.type.as_pointer()), 1)

    def _load_last(self, pointer: Any, kind: Any, align: int) -> Any:
        if self._whole:
            return self.builder.load(pointer, align=align)
        load = self._function("masked.load", kind, [pointer.type, _LANE, self._last.type, kind], kind)
        return self.builder.call(load, [pointer, ir.Constant(_LANE, align), self._last, ir.Constant(kind, None)])

    def _store_last(self, vector: Any, pointer: Any, align: int) -> None:
        if self._whole:
            self.builder.store(vector, pointer, align=align)
            return
        given = [vector.type, pointer.type, _LANE, self._last.type]
        store = self._function("masked.store", ir.VoidType(), given, vector.type)
        self.builder.call(store, [vector, pointer, ir.Constant(_LANE, align), self._last])

    def sums(
        self, number: Callable[[int, Any], Any], line: Callable[[Any], Any], k: Any, first: Any = None
    ) -> list[list[Any]]:
        """Return first + sum over q < k of a[i, q] * b[q], as vectors; the builder stands behind the loop then.

        Args:
            number: number(i, q) gives the address of a[i, q].
            line: line(q) gives the address of b[q].
            k: how many.
            first: rows of vectors, or None for zeros.
        """
        builder = self.builder
        before = builder.block
        head, body, done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        q = builder.phi(_INT)
        q.add_incoming(constant(0), before)
        sums = [[builder.phi(kind) for kind in self._kinds] for _ in range(self.rows)]
        for i, row in enumerate(sums):
            for j, total in enumerate(row):
                total.add_incoming(ir.Constant(total.type, None) if first is None else first[i][j], before)
        builder.cbranch(builder.icmp_signed("<", q, k), body, done)
        builder.position_at_end(body)
        factors = self.load(line(q))
        for i, row in enumerate(sums):
            factor = builder.load(number(i, q), align=self.size)
            splats = {kind: self.splat(factor, kind.count) for kind in self._fma}
            for j, total in enumerate(row):
                product = builder.call(self._fma[total.type], [splats[total.type], factors[j], total])
                total.add_incoming(product, body)
        q.add_incoming(builder.add(q, constant(1)), body)
        builder.branch(head)
        builder.position_at_end(done)
        return sums


def panel_width(left: int) -> int:
    """Return how many vectors wide the next panel of columns is, of so many that are left."""
    if left >= 2 * _WIDEST or left == _WIDEST:
        return _WIDEST
    return (left + 1) // 2 if left > _WIDEST else left


width = inlined(panel_width)
"""The same in kernels."""


def _text() -> str:
    """Write `part`: columns in panels as wide as a tile, and in each the rows, from the highest tile to the lowest."""
    cases = []
    for vectors, heights in TILES.items():
        # The highest tile does nearly all rows; twins of the others would take time to compile.
        tiles = [(heights[0], "_half", " and half")] * _HALVES + [(rows, "", "") for rows in heights]
        loops = "".join(
            f"while m - i >= {rows}{condition}:\n"
            f"    tile_{vectors}_{rows}{half}(zero, a, rsa, csa, b, rsb, k, c, w, i, j)\n"
            f"    i += {rows}\n"
            for rows, half, condition in tiles
        )
        cases.append(f"if vectors == {vectors}:\n{indent(loops, '    ')}")
    return f"""def part(zero, size, a, rsa, csa, b, rsb, c, m, n, k):
    lanes, j = {BYTES} // size, 0
    while j < n:
        left = (n - j + lanes - 1) // lanes
        vectors = width(left)
        w = min(vectors * lanes, n - j)
        half = vectors * lanes - w >= lanes // 2
        i = 0
{indent("el".join(cases), "        ")}
        j += w
"""


_tiles: dict[str, Any] = {
    f"tile_{vectors}_{rows}": _tile(rows, vectors) for vectors, heights in TILES.items() for rows in heights
}
if _HALVES:
    _tiles |= {f"tile_{vectors}_{rows[0]}_half": _tile(rows[0], vectors, True) for vectors, rows in TILES.items()}
_tiles["width"] = width
exec(_text(), _tiles)
_part = merged(_tiles["part"])


@kernel("viiiiiiiii", fast=False)
def part_of_product(like, a, rsa, csa, b, rsb, c, m, n, k):
    """Compute c = a @ b for some rows and columns of the result; arguments as for tiles, m: the rows."""
    _part(like.dtype.type(0), like.itemsize, a, rsa, csa, b, rsb, c, m, n, k)


@intrinsic
def _call(
    context: Any, function: Any, size: Any, a: Any, rsa: Any, csa: Any, b: Any, rsb: Any, c: Any, m: Any, n: Any, k: Any
) -> Any:
    """Call `part_of_product` at an address: its tiles take a second to compile, and that once is enough."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function, size, *numbers = arguments
        nothing = [constant(0)] * 3
        result, raised = (builder.ptrtoint(alloca_once(builder, _INT), _INT) for _ in range(2))
        words = [result, raised, *nothing, size, *nothing[:2], size, *numbers]
        kind = ir.FunctionType(_LANE, [_INT] * len(words))
        builder.call(builder.inttoptr(function, kind.as_pointer()), words)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 11), generate


@kernel("mmmii", fast=False)
def _whole(a, b, c, transposed, function):
    """Compute c = a @ b, or a.T @ b. function: the address of `part_of_product`."""
    before = begin()
    m, n, k = c.shape[0], c.shape[1], b.shape[0]
    rsa, csa = (1, m) if transposed else (k, 1)
    _call(function, c.itemsize, a.ctypes.data, rsa, csa, b.ctypes.data, n, c.ctypes.data, m, n, k)
    end(before)


def product(a: Any, b: Any, c: Any, transposed: bool) -> Any:
    """Compute c = a @ b, or a.T @ b; return NotImplemented for arrays that no kernel takes."""
    return _whole(a, b, c, transposed, _address(c))


def _address(c: Any) -> int:
    """Return the address of `part_of_product` for an array's dtype."""
    return part_of_product.address(c.dtype) if c.dtype in FLOATS else 0


_WORDS = HEAD + 6 * MOVE + 16


@kernel("mmmiiiii", fast=False)
def _write(a, b, c, transposed, rows, columns, function, job):
    """Write down the job of c = a @ b, or a.T @ b, in parts of so many rows and columns.

    function: the address of `part_of_product`. job: where to write it.
    """
    m, n, k, size = c.shape[0], c.shape[1], b.shape[0], c.itemsize
    rsa, csa = (1, m) if transposed else (k, 1)
    # Parts below each other come one after the other: they share the columns of b, which are in the cache then.
    below = (m + rows - 1) // rows
    put(job + 8 * FUNCTION, function)
    put(job + 8 * COUNT, 16)
    put(job + 8 * PARTS, below * ((n + columns - 1) // columns))
    put(job + 8 * ACROSS, below)
    put(job + 8 * MOVES, 6)
    put(job + 8 * PATIENCE, 1)
    place = job + 8 * HEAD
    for word, side, step, total in (
        (7, 1, rows * rsa * size, -1),  # a
        (10, 0, columns * size, -1),  # b
        (12, 1, rows * n * size, -1),  # c
        (12, 0, columns * size, -1),
        (13, 1, rows, m),
        (14, 0, columns, n),
    ):
        put(place, word)
        put(place + 8, side)
        put(place + 16, step)
        put(place + 24, total)
        place += 8 * MOVE
    at_a, at_b, at_c = np.int64(a.ctypes.data), np.int64(b.ctypes.data), np.int64(c.ctypes.data)
    # The first seven are an empty array, of which the dtype alone counts.
    for word in (0, 0, 0, size, 0, 0, size, at_a, rsa, csa, at_b, n, at_c, m, n, k):
        put(place, word)
        place += 8


def job(a: Any, b: Any, c: Any, transposed: bool, rows: int, columns: int) -> Any:
    """Return the job of c = a @ b, or a.T @ b, in parts of so many rows and columns; or NotImplemented.

    The arrays have to live as long as the job.
    """
    words = np.empty(_WORDS, np.int64)
    written = _write.run(a, b, c, transposed, rows, columns, _address(c), words.ctypes.data)
    return written if written is NotImplemented else words
