"""Products of matrices in register tiles, on the thread that calls or shared by a team of threads.

A tile holds some rows of the result, each in a few vectors, in registers while it runs along the inner dimension: for
each step it loads a row of b once, and multiplies it by one number of each row of a. Nothing is packed, so this pays
while b's panel stays in the second-level cache. The vectors are LLVM's. A number of the result is one chain of fused
multiplications, in order: its bits depend on nothing else.
"""

from functools import cache
from textwrap import indent
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import carray, types
from numba.extending import intrinsic

from ._jit import inlined, kernel
from .flush import X86, begin, end

_INT, _LANE, _BIT = ir.IntType(64), ir.IntType(32), ir.IntType(1)
_FEATURES = binding.get_host_cpu_features()


def _registers() -> tuple[int, int]:
    """Return the bytes of a vector register, and how many there are."""
    if _FEATURES.get("avx512f"):
        return 64, 32
    if _FEATURES.get("avx2"):
        return 32, 16
    return 16, 32 if _FEATURES.get("neon") else 16


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


@cache
def _tile(rows: int, vectors: int) -> Any:
    """Make tile(zero, a, rsa, csa, b, rsb, k, c, rsc, n).

    It computes c[i, j] = sum over q < k of a[i, q] * b[q, j] for i < rows and j < n. a, b, c: addresses; rsa, csa, rsb,
    rsc: the elements from a row to the next, or a column to the next. n: more than `vectors - 1` vectors, and no more
    than `vectors`. zero: of the elements' dtype.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, a, rsa, csa, b, rsb, k, c, rsc, n = arguments
        element, size = (ir.FloatType(), 4) if signature.args[0] == types.float32 else (ir.DoubleType(), 8)
        lanes = BYTES // size
        vector, mask = ir.VectorType(element, lanes), ir.VectorType(_BIT, lanes)
        name, function = f"v{lanes}f{8 * size}", _declare(builder.module)
        fma = function(f"llvm.fma.{name}", vector, [vector] * 3)
        load = function(f"llvm.masked.load.{name}.p0", vector, [vector.as_pointer(), _LANE, mask, vector])
        store = function(f"llvm.masked.store.{name}.p0", ir.VoidType(), [vector, vector.as_pointer(), _LANE, mask])
        zero, align = ir.Constant(vector, None), ir.Constant(_LANE, size)

        def constant(value: int) -> Any:
            return ir.Constant(_INT, value)

        def splat(value: Any) -> Any:
            kind = ir.VectorType(value.type, lanes)
            single = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_LANE, 0))
            every = ir.Constant(ir.VectorType(_LANE, lanes), None)
            return builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), every)

        places = ir.Constant(ir.VectorType(_INT, lanes), [constant(i) for i in range(lanes)])
        last = builder.icmp_signed("<", places, splat(builder.sub(n, constant((vectors - 1) * lanes))))

        def place(pointer: Any, j: int) -> Any:
            return builder.bitcast(builder.gep(pointer, [constant(j * lanes)]), vector.as_pointer())

        def loaded(pointer: Any, j: int) -> Any:
            if j == vectors - 1:
                return builder.call(load, [place(pointer, j), align, last, zero])
            return builder.load(place(pointer, j), align=size)

        a, b, c = (builder.inttoptr(address, element.as_pointer()) for address in (a, b, c))
        starts = [builder.gep(a, [builder.mul(rsa, constant(i))]) for i in range(rows)]
        before = builder.block
        head, body, done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        q = builder.phi(_INT)
        q.add_incoming(constant(0), before)
        sums = [[builder.phi(vector) for _ in range(vectors)] for _ in range(rows)]
        for row in sums:
            for total in row:
                total.add_incoming(zero, before)
        builder.cbranch(builder.icmp_signed("<", q, k), body, done)
        builder.position_at_end(body)
        row_of_b, column = builder.gep(b, [builder.mul(q, rsb)]), builder.mul(q, csa)
        factors = [loaded(row_of_b, j) for j in range(vectors)]
        for i, row in enumerate(sums):
            number = splat(builder.load(builder.gep(starts[i], [column]), align=size))
            for j, total in enumerate(row):
                total.add_incoming(builder.call(fma, [number, factors[j], total]), body)
        q.add_incoming(builder.add(q, constant(1)), body)
        builder.branch(head)
        builder.position_at_end(done)
        for i, row in enumerate(sums):
            to = builder.gep(c, [builder.mul(rsc, constant(i))])
            for j, total in enumerate(row):
                if j == vectors - 1:
                    builder.call(store, [total, place(to, j), align, last])
                else:
                    builder.store(total, place(to, j), align=size)
        return context.get_dummy_value()

    def typed(
        context: Any, zero: Any, a: Any, rsa: Any, csa: Any, b: Any, rsb: Any, k: Any, c: Any, rsc: Any, n: Any
    ) -> Any:
        return types.void(zero, *[types.int64] * 9), generate

    return intrinsic(typed)


def _declare(module: Any) -> Any:
    def function(name: str, result: Any, parameters: list[Any]) -> Any:
        return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, parameters), name)

    return function


def _text() -> str:
    """Write `part`: columns in panels as wide as a tile, and in each the rows, from the highest tile to the lowest."""
    cases = []
    for vectors, heights in TILES.items():
        loops = "".join(
            f"while m - i >= {rows}:\n"
            f"    tile_{vectors}_{rows}(zero, a + i * rsa * size, rsa, csa, b + j * size, rsb, k, "
            f"c + (i * rsb + j) * size, rsb, w)\n"
            f"    i += {rows}\n"
            for rows in heights
        )
        cases.append(f"if vectors == {vectors}:\n{indent(loops, '    ')}")
    most = max(TILES)
    return f"""def part(zero, size, a, rsa, csa, b, rsb, c, m, n, k):
    lanes, j = {BYTES} // size, 0
    while j < n:
        left = (n - j + lanes - 1) // lanes
        vectors = {most} if left >= {2 * most} or left == {most} else (left + 1) // 2 if left > {most} else left
        w = min(vectors * lanes, n - j)
        i = 0
{indent("el".join(cases), "        ")}
        j += w
"""


_tiles = {f"tile_{vectors}_{rows}": _tile(rows, vectors) for vectors, heights in TILES.items() for rows in heights}
exec(_text(), _tiles)
_part = inlined(_tiles["part"])


@kernel("mmmi", fast=False)
def product(a, b, c, transposed):
    """Compute c = a @ b, or a.T @ b, on the thread that calls."""
    before = begin()
    m, k = c.shape[0], b.shape[0]
    rsa, csa = (1, m) if transposed else (k, 1)
    size, n = c.itemsize, c.shape[1]
    _part(c.dtype.type(0), size, a.ctypes.data, rsa, csa, b.ctypes.data, n, c.ctypes.data, m, n, k)
    end(before)


@inlined
def _turn(a, out, low, high):
    """Write rows of a to columns of out, in squares of eight: whole rows of both would fall out of the cache."""
    n = a.shape[1]
    whole_high, whole_n = low + (high - low) // 8 * 8, n // 8 * 8
    for j0 in range(0, whole_n, 8):
        for i0 in range(low, whole_high, 8):
            for j in range(8):
                for i in range(8):
                    out[j0 + j, i0 + i] = a[i0 + i, j0 + j]
    for i in range(low, high):
        for j in range(whole_n if i < whole_high else 0, n):
            out[j, i] = a[i, j]


@kernel("mm", fast=False)
def transpose(a, out):
    """Compute out = a.T, on the thread that calls."""
    _turn(a, out, 0, a.shape[0])


# A team ---------------------------------------------------------------------------------------------------------------
#
# One thread gives a product to a team, of which it is a member, by writing down its addresses and sizes in a block of
# memory that all know. Every member claims one part after the other, until none is left: who is slow, because another
# process has its processor, has few. Members wait for the next product by looking for it, for a while; then they are
# parked by Python. A number of the result is the same sum in the same order, whoever computes it.

_LINE = 8  # numbers: what is written often has a line of the cache for itself
TICKET, DONE, SPINNING, JOB = (8 * _LINE * i for i in range(4))
"""Where things are in the block, in bytes: how many parts are left and of which product, how many are done, how many
members look for work, and what the work is."""
PLACES = 4 * _LINE + 16
"""How many numbers of 8 bytes the block has."""


def _on_memory(arguments: int, operation: Any) -> Any:
    """Type a function of an address and other numbers, and generate it from an operation on what lies there."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return operation(builder, builder.inttoptr(given[0], _INT.as_pointer()), *given[1:])

    return types.int64(*[types.int64] * arguments), generate


# What other threads see whole, and in order.


@intrinsic
def _load(context, address):
    return _on_memory(1, lambda builder, place: builder.load_atomic(place, "seq_cst", 8))


@intrinsic
def _store(context, address, value):
    def operation(builder, place, value):
        builder.store_atomic(value, place, "seq_cst", 8)
        return value

    return _on_memory(2, operation)


@intrinsic
def _add(context, address, value):
    return _on_memory(2, lambda builder, place, value: builder.atomic_rmw("add", place, value, "seq_cst"))


@intrinsic
def _swap(context, address, expected, value):
    """Write the value where the expected one is; return whether it was there."""

    def operation(builder, place, expected, value):
        pair = builder.cmpxchg(place, expected, value, "seq_cst", "seq_cst")
        return builder.zext(builder.extract_value(pair, 1), _INT)

    return _on_memory(3, operation)


@intrinsic
def _pause(context, address):
    """Tell the processor that this is a loop that waits."""

    def operation(builder, place):
        if X86:
            builder.call(_declare(builder.module)("llvm.x86.sse2.pause", ir.VoidType(), []), [])
        return ir.Constant(_INT, 0)

    return _on_memory(1, operation)


@inlined
def _claim(team):
    """Claim a part; return its number, or -1 where none is left."""
    while True:
        ticket = _load(team + TICKET)
        left = ticket & 0xFFFF
        if left == 0:
            return -1
        if _swap(team + TICKET, ticket, ticket - 1):
            return left - 1


@intrinsic
def _pointer(context, zero, address):
    def generate(context, builder, signature, given):
        return builder.inttoptr(given[1], context.get_value_type(signature.return_type))

    return types.CPointer(zero)(zero, types.int64), generate


@inlined
def _compute(zero, team, p):
    """Do part p of what the team was given: of a product, or, where there is no inner dimension, of a transposition."""
    job = team + JOB
    size, a, rsa, csa = _load(job), _load(job + 8), _load(job + 16), _load(job + 24)
    b, c, m, n = _load(job + 32), _load(job + 40), _load(job + 48), _load(job + 56)
    k, rows, columns, across = _load(job + 64), _load(job + 72), _load(job + 80), _load(job + 88)
    i, j = p // across * rows, p % across * columns
    if k < 0:
        _turn(carray(_pointer(zero, a), (m, n)), carray(_pointer(zero, c), (n, m)), i, min(i + rows, m))
        _add(team + DONE, 1)
        return
    _part(
        zero, size, a + i * rsa * size, rsa, csa, b + j * size, n, c + (i * n + j) * size,
        min(rows, m - i), min(columns, n - j), k,
    )  # fmt: skip
    _add(team + DONE, 1)


@kernel("ii", fast=False)
def look_for_work(team, limit):
    """Work at the products of a team, until there was none for so many looks."""
    before = begin()
    _add(team + SPINNING, 1)
    looks = 0
    while looks < limit:
        p = _claim(team)
        if p < 0:
            _pause(team)
            looks += 1
        else:
            if _load(team + JOB) == 4:
                _compute(np.float32(0), team, p)
            else:
                _compute(np.float64(0), team, p)
            looks = 0
    _add(team + SPINNING, -1)
    end(before)


@inlined
def _give(team, size, a, rsa, csa, b, c, m, n, k, rows, columns):
    """Write down a job; return how many parts it has."""
    down, across = (m + rows - 1) // rows, (n + columns - 1) // columns
    job = team + JOB
    _store(job, size)
    _store(job + 8, a)
    _store(job + 16, rsa)
    _store(job + 24, csa)
    _store(job + 32, b)
    _store(job + 40, c)
    _store(job + 48, m)
    _store(job + 56, n)
    _store(job + 64, k)
    _store(job + 72, rows)
    _store(job + 80, columns)
    _store(job + 88, across)
    _store(team + DONE, 0)
    _store(team + TICKET, ((_load(team + TICKET) >> 16) + 1) << 16 | down * across)
    return down * across


@inlined
def _finish(zero, team, parts):
    """Work at the job, and wait until all parts are done; return how often it looked for the last one."""
    p = _claim(team)
    while p >= 0:
        _compute(zero, team, p)
        p = _claim(team)
    looks = 0
    while _load(team + DONE) < parts:
        _pause(team)
        looks += 1
    return looks


@kernel("mmmiiii", fast=False)
def product_of_team(a, b, c, transposed, team, rows, columns):
    """Compute c = a @ b, or a.T @ b, in parts of so many rows and columns; return how often it looked for the last."""
    before = begin()
    m, n, k = c.shape[0], c.shape[1], b.shape[0]
    rsa, csa = (1, m) if transposed else (k, 1)
    parts = _give(
        team, c.itemsize, a.ctypes.data, rsa, csa, b.ctypes.data, c.ctypes.data, m, n, k, rows, columns
    )  # fmt: skip
    looks = _finish(c.dtype.type(0), team, parts)
    end(before)
    return looks


@kernel("mmii", fast=False)
def transpose_of_team(a, out, team, rows):
    """Compute out = a.T, in parts of so many rows of a; return how often it looked for the last."""
    m, n = a.shape
    parts = _give(team, a.itemsize, a.ctypes.data, 0, 0, 0, out.ctypes.data, m, n, -1, rows, n)
    return _finish(a.dtype.type(0), team, parts)
