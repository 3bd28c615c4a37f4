"""Products of matrices in register tiles.

A tile holds some rows of the result, each in a few vectors, in registers while it runs along the inner dimension: for
each step it loads a row of b once, and multiplies it by one number of each row of a. b's panels are copied (packed)
where that pays, which is not with the widest vectors. The vectors are LLVM's. A number of the result is one chain of
fused multiplications, in order: its bits depend on nothing else.
"""

from collections.abc import Callable
from functools import cache
from textwrap import indent
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core.cgutils import alloca_once, for_range
from numba.extending import intrinsic

from ._jit import FLOATS, inlined, kernel, merged
from .flush import X86, begin, end
from .team import ACROSS, COUNT, FUNCTION, HEAD, MOVE, MOVES, PARTS, PATIENCE, declare, put

_INT, _LANE, _BIT, _SINGLE = ir.IntType(64), ir.IntType(32), ir.IntType(1), ir.FloatType()
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
_MASKS = BYTES == 64
"""Whether masks have registers of their own. A tile whose last vector is at most half used has one of half the length
there, then: half of its work on processors that do 64 bytes in two goes, and no more on others. Without them the last
vector of a row ends where the row does, and computes what the one before it has computed, too, to the same bits."""


def last_of_row(vectors: int) -> str:
    """Return what the last of so many vectors of a row is, however much of it is used; see `Tile`."""
    return "masked" if _MASKS or vectors == 1 else "shared"


@cache
def _tile(rows: int, vectors: int, last: str, *, single: bool = False) -> Any:
    """Make tile(zero, a, rsa, csa, b, rsb, first, k, c, rsc, n, i, j, more); `single`: a is of float32, b of float64.

    It computes c[i + r, j + s] = sum over q < k of a[i + r, q] * b[q, first + s] for r < rows and s < n, and adds it to
    what is there if `more` is not 0. a, b, c: addresses; rsa, rsb, rsc, csa: the elements from a row to the next, or a
    column to the next. n: more than `vectors - 1` vectors, and no more than `vectors`, or half a vector less where the
    last one is a "half". zero: of the elements' dtype.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, a, rsa, csa, b, rsb, first, k, c, rsc, n, i, j, more = arguments
        tile = Tile(builder, signature.args[0], rows, vectors, n, last)
        a = builder.inttoptr(a, _SINGLE.as_pointer()) if single else tile.pointer(a)
        b, c = tile.pointer(b), tile.pointer(c)
        # Numba takes longer over arithmetic than LLVM does, and there are many tiles.
        a, b = builder.gep(a, [builder.mul(i, rsa)]), builder.gep(b, [first])
        c = builder.gep(c, [builder.add(builder.mul(i, rsc), j)])
        places = [builder.gep(c, [builder.mul(rsc, constant(i))]) for i in range(rows)]
        starts = [builder.gep(a, [builder.mul(rsa, constant(i))]) for i in range(rows)]

        def number(i: int, q: Any) -> Any:
            return builder.gep(starts[i], [builder.mul(q, csa)])

        def line(q: Any) -> Any:
            return builder.gep(b, [builder.mul(q, rsb)])

        sums = tile.sums(number, line, k, _so_far(tile, places, more))
        for place, row in zip(places, sums, strict=True):
            tile.store(row, place)
        return context.get_dummy_value()

    def typed(
        context: Any,
        zero: Any,
        a: Any,
        rsa: Any,
        csa: Any,
        b: Any,
        rsb: Any,
        first: Any,
        k: Any,
        c: Any,
        rsc: Any,
        n: Any,
        i: Any,
        j: Any,
        more: Any,
    ) -> Any:
        return types.void(zero, *[types.int64] * 13), generate

    return intrinsic(typed)


def _so_far(tile: "Tile", places: list[Any], more: Any) -> list[list[Any]]:
    """Return what sums begin from: what is at these places if `more` is not 0, else zeros."""
    builder, before = tile.builder, tile.builder.block
    with builder.if_then(builder.icmp_signed("!=", more, constant(0))):
        loaded = [tile.load(place) for place in places]
        inside = builder.block
    result = []
    for row in loaded:
        result.append([])
        for vector in row:
            phi = builder.phi(vector.type)
            phi.add_incoming(ir.Constant(vector.type, None), before)
            phi.add_incoming(vector, inside)
            result[-1].append(phi)
    return result


@cache
def _copy(vectors: int) -> Any:
    """Make copy(zero, b, rsb, k, n, out): the first n of each of k rows, one behind the other as a tile reads them."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, b, rsb, k, n, out = arguments
        tile = Tile(builder, signature.args[0], 1, vectors, n, last_of_row(vectors))
        b, out = tile.pointer(b), tile.pointer(out)
        with for_range(builder, k) as loop:
            row = tile.load(builder.gep(b, [builder.mul(loop.index, rsb)]))
            tile.store(row, builder.gep(out, [builder.mul(loop.index, constant(vectors * tile.lanes))]))
        return context.get_dummy_value()

    def typed(context: Any, zero: Any, b: Any, rsb: Any, k: Any, n: Any, out: Any) -> Any:
        return types.void(zero, *[types.int64] * 5), generate

    return intrinsic(typed)


_DEPTH = 256
"""How far along the inner dimension a panel of b is copied at once: it stays in the first-level cache then."""


@intrinsic
def _room(context: Any) -> Any:
    """Return the address of memory for a panel's copy, on the stack."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        with builder.goto_entry_block():  # not Numba's alloca_once, which also fills it
            room = builder.alloca(ir.ArrayType(ir.IntType(8), _DEPTH * _WIDEST * BYTES))
        room.align = 64
        return builder.ptrtoint(room, _INT)

    return types.int64(), generate


class Tile:
    """Writes the vector code of a tile: some rows, each of a few vectors.

    Args:
        builder: LLVM's.
        kind: Numba's type of the elements.
        rows: of the tile.
        vectors: of a row.
        n: how many elements a row has.
        last: of the vectors of a row: "whole"; "masked", and only as far as the row goes; "half" as long as the others,
            and masked; "shared", whole, and as far back as it takes: what it shares with the one before is the same.
    """

    def __init__(self, builder: Any, kind: Any, rows: int, vectors: int, n: Any, last: str) -> None:
        self.builder, self.rows, self.vectors = builder, rows, vectors
        self._whole = last in ("whole", "shared")
        self.element, self.size = (ir.FloatType(), 4) if kind == types.float32 else (ir.DoubleType(), 8)
        self.lanes = BYTES // self.size
        self.vector = ir.VectorType(self.element, self.lanes)
        self._tail = ir.VectorType(self.element, self.lanes // (2 if last == "half" else 1))
        self._kinds = [self.vector] * (vectors - 1) + [self._tail]
        self._fma = {kind: self._function("fma", kind, [kind] * 3, kind) for kind in (self.vector, self._tail)}
        self._places = [constant(j * self.lanes) for j in range(vectors)]
        if last == "shared":
            self._places[-1] = builder.sub(n, constant(self.lanes))
        # Numbers as long as the elements: the comparison is the mask then, where masks are vectors.
        lane = ir.IntType(8 * self.size)
        places = ir.Constant(ir.VectorType(lane, self._tail.count), [lane(i) for i in range(self._tail.count)])
        left = (
            builder.trunc(builder.sub(n, self._places[-1]), lane) if self.size < 8 else builder.sub(n, self._places[-1])
        )
        self._mask = builder.icmp_signed("<", places, self.splat(left, self._tail.count))

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

    def _widened(self, vector: Any, kind: Any) -> Any:
        """Return a vector of a kind with the same numbers."""
        return vector if vector.type == kind else self.builder.fpext(vector, kind)

    def _place(self, pointer: Any, j: int) -> Any:
        place = self.builder.gep(pointer, [self._places[j]])
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
        load = self._function("masked.load", kind, [pointer.type, _LANE, self._mask.type, kind], kind)
        return self.builder.call(load, [pointer, ir.Constant(_LANE, align), self._mask, ir.Constant(kind, None)])

    def _store_last(self, vector: Any, pointer: Any, align: int) -> None:
        if self._whole:
            self.builder.store(vector, pointer, align=align)
            return
        given = [vector.type, pointer.type, _LANE, self._mask.type]
        store = self._function("masked.store", ir.VoidType(), given, vector.type)
        self.builder.call(store, [vector, pointer, ir.Constant(_LANE, align), self._mask])

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
            place = number(i, q)
            factor = builder.load(place, align=4 if place.type.pointee == _SINGLE else self.size)
            splats = {kind: self._widened(self.splat(factor, kind.count), kind) for kind in self._fma}
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


SHARE = 200_000
"""Multiplications of a part of a product, about."""
_LONG = 2_000_000
"""Multiplications of a part for which the team waits twice as long as for the shortest."""
_LEAST, _LEAST_OF_A = 24, 4096
"""Rows, and numbers of a, that are worth a copy of b's panels."""


def copied(m: int, k: int) -> bool:
    """Return whether panels of b are copied before m rows are multiplied by them.

    A copy is dense: the rows of b's panel begin in the middle of cache lines, and those a power of two apart drive each
    other out of the cache. With the widest vectors a row is so many lines that neither matters much.
    """
    return not _MASKS and m >= _LEAST and m * k >= _LEAST_OF_A


def parts(m: int, n: int, k: int, itemsize: int) -> tuple[int, int]:
    """Return the rows and the columns of a part of a product: whole tiles, some microseconds of work."""
    if not copied(m, k):
        share = max(SHARE, m * n * k // 128)
        columns = n if 12 * n * k <= share else max(64, share // (12 * k) // 64 * 64)
        return min(m, max(12, share // max(1, columns * k) // 12 * 12)), columns
    # The more rows, the less a copy costs.
    share, panel = max(SHARE, m * n * k // 64), _WIDEST * BYTES // itemsize
    least = n if n < 4 * panel else panel
    rows = m if m * k * least <= 2 * share else max(48, share // (k * least))
    rows = -(-m // -(-m // rows))
    return -(-rows // 12) * 12, max(least, share // (rows * k * panel) * panel)


def _kinds(vectors: int, heights: tuple[int, ...]) -> list[tuple[int, str, str]]:
    """Return the tiles of so many vectors, from the highest one: rows, the last vector, and when it may be so."""
    last = last_of_row(vectors)
    kinds = [(rows, last, "True") for rows in heights]
    if last == "masked":  # the highest tile does nearly all rows; twins of the others would take time to compile
        kinds.insert(0, (heights[0], "half", "half") if _MASKS else (heights[0], "whole", "w == lanes"))
    return kinds


def _text(size_of_a: str) -> str:
    """Write `part`: columns in panels as wide as a tile, and in each the rows, from the highest tile to the lowest.

    size_of_a: the bytes of one of a's numbers, as an expression.
    """
    copies, tiles = [], []
    for vectors, heights in TILES.items():
        copies.append(
            f"if vectors == {vectors}:\n    copy_{vectors}(zero, b + (q * rsb + j) * size, rsb, depth, w, room)\n"
        )
        rows = "".join(
            f"while m - i >= {rows} and {condition}:\n"
            f"    tile_{vectors}_{rows}_{last}(zero, at_a, rsa, csa, at_b, step, first, depth, c, rsb, w, i, j, q)\n"
            f"    i += {rows}\n"
            for rows, last, condition in _kinds(vectors, heights)
        )
        tiles.append(f"if vectors == {vectors}:\n{indent(rows, '    ')}")
    return f"""def part(zero, size, a, rsa, csa, b, rsb, c, m, n, k):
    lanes, j, room, copies = {BYTES} // size, 0, _room(), copied(m, k)
    deep = {_DEPTH} if copies else max(1, k)
    while j < n:
        left = (n - j + lanes - 1) // lanes
        vectors = width(left)
        w = min(vectors * lanes, n - j)
        half = vectors * lanes - w >= lanes // 2
        for layer in range(max(1, (k + deep - 1) // deep)):
            q = layer * deep
            depth, i = min(deep, k - q), 0
            at_a, at_b, step, first = a + q * csa * {size_of_a}, b, rsb, j
            if copies:
                at_b, step, first = room, vectors * lanes, 0
{indent("el".join(copies), "                ")}
{indent("el".join(tiles), "            ")}
        j += w
"""


def _parts(*, single: bool) -> Any:
    """Make `part` with its tiles."""
    space: dict[str, Any] = {
        f"tile_{vectors}_{rows}_{last}": _tile(rows, vectors, last, single=single)
        for vectors, heights in TILES.items()
        for rows, last, _ in _kinds(vectors, heights)
    }
    space |= {f"copy_{vectors}": _copy(vectors) for vectors in TILES}
    space |= {"width": width, "copied": inlined(copied), "_room": _room}
    exec(_text("4" if single else "size"), space)
    return merged(space["part"])


_part, _part_of_single = _parts(single=False), _parts(single=True)


@kernel("viiiiiiiii", fast=False)
def part_of_product(like, a, rsa, csa, b, rsb, c, m, n, k):
    """Compute c = a @ b for some rows and columns of the result; arguments as for tiles, m: the rows."""
    _part(like.dtype.type(0), like.itemsize, a, rsa, csa, b, rsb, c, m, n, k)


@kernel("viiiiiiiii", fast=False, dtypes=["float64"])
def part_of_product_of_single(like, a, rsa, csa, b, rsb, c, m, n, k):
    """Do the same for a of float32, whose numbers are widened as they are read, and b and c of float64."""
    _part_of_single(like.dtype.type(0), like.itemsize, a, rsa, csa, b, rsb, c, m, n, k)


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


@merged
def _do(a, b, c, transposed, function):
    """Compute c = a @ b, or a.T @ b. function: the address of `part_of_product`, or of that of single numbers."""
    before = begin()
    m, n, k = c.shape[0], c.shape[1], b.shape[0]
    rsa, csa = (1, m) if transposed else (k, 1)
    _call(function, c.itemsize, a.ctypes.data, rsa, csa, b.ctypes.data, n, c.ctypes.data, m, n, k)
    end(before)


@kernel("mmmii", fast=False)
def _whole(a, b, c, transposed, function):
    """Do a product at once."""
    _do(a, b, c, transposed, function)


@kernel("smmii", fast=False, dtypes=["float64"])
def _whole_of_single(a, b, c, transposed, function):
    """Do a product of single numbers at once."""
    _do(a, b, c, transposed, function)


def product(a: Any, b: Any, c: Any, transposed: bool) -> Any:
    """Compute c = a @ b, or a.T @ b; return NotImplemented for arrays that no kernel takes.

    a may be of float32 where b and c are of float64.
    """
    kernel = _whole if a.dtype == c.dtype else _whole_of_single
    return kernel(a, b, c, transposed, _address(a, c))


def _address(a: Any, c: Any) -> int:
    """Return the address of the machine code for arrays of two dtypes."""
    if c.dtype not in FLOATS:
        return 0
    return (part_of_product if a.dtype == c.dtype else part_of_product_of_single).address(c.dtype)


_WORDS = HEAD + 6 * MOVE + 16


@merged
def _put(a, b, c, transposed, rows, columns, function, job):
    m, n, k, size = c.shape[0], c.shape[1], b.shape[0], c.itemsize
    rsa, csa = (1, m) if transposed else (k, 1)
    # Parts below each other come one after the other: they share the columns of b, which are in the cache then.
    below = (m + rows - 1) // rows
    put(job + 8 * FUNCTION, function)
    put(job + 8 * COUNT, 16)
    put(job + 8 * PARTS, below * ((n + columns - 1) // columns))
    put(job + 8 * ACROSS, below)
    put(job + 8 * MOVES, 6)
    put(job + 8 * PATIENCE, 1 + rows * columns * k // _LONG)
    place = job + 8 * HEAD
    for word, side, step, total in (
        (7, 1, rows * rsa * a.itemsize, -1),  # a
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


@kernel("mmmiiiii", fast=False)
def _write(a, b, c, transposed, rows, columns, function, job):
    """Write down the job of c = a @ b, or a.T @ b, in parts of so many rows and columns.

    function: the address of `part_of_product`. job: where to write it.
    """
    _put(a, b, c, transposed, rows, columns, function, job)


@kernel("smmiiiii", fast=False, dtypes=["float64"])
def _write_of_single(a, b, c, transposed, rows, columns, function, job):
    """Write down the job of a product of single numbers."""
    _put(a, b, c, transposed, rows, columns, function, job)


def job(a: Any, b: Any, c: Any, transposed: bool, rows: int, columns: int) -> Any:
    """Return the job of c = a @ b, or a.T @ b, in parts of so many rows and columns; or NotImplemented.

    The arrays have to live as long as the job.
    """
    words = np.empty(_WORDS, np.int64)
    write = _write if a.dtype == c.dtype else _write_of_single
    written = write.run(a, b, c, transposed, rows, columns, _address(a, c), words.ctypes.data)
    return written if written is NotImplemented else words
