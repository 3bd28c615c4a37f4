"""Calls of kernels as jobs: into which parts their work is divided, and how these are written down."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_PART = 4096
"""Elements of a part, about: some microseconds of work."""
_MOST_PARTS = 4096
_LONG_PARTS = 200
"""How much longer than some microseconds a part may take where a row is much work."""


def rows_of_part(n: int) -> int:
    """Return the rows of a batch of n that one thread takes at once."""
    return 12 * -(-n // 384)


def partition(kernel: Any, args: Any) -> tuple[int, int]:
    """Return how many rows a kernel is given, and how many of them a part has: by the arrays' shapes alone."""
    if not kernel.rows:
        return 1, 1
    arrays = [args[i] for i in kernel.rows]
    n, size = len(arrays[0]), max([a.size for a in arrays])
    if kernel.most is not None:
        return n, max(1, -(-n // kernel.most))
    if (kernel.sums or kernel.own) and arrays[0].ndim == 2:
        return n, rows_of_part(n)
    rows = max(_PART * n // size, -(-n // _MOST_PARTS)) if size > _PART else n
    return n, max(1, rows if rows < 8 else rows // 8 * 8)


def of_first_part(kernel: Any, args: Any) -> Any:
    """Return a kernel's arguments with, of its own arrays, the row of the first part."""
    return tuple(a[0] if i in kernel.own else a for i, a in enumerate(args)) if kernel.own else args


Sums = list[tuple[Array, Array]]
"""Arrays with a row of sums for each part, and where those of all parts go."""


def divide(
    kernel: Any, whole: list[Any], given: list[Any], jit: Any, share: int
) -> tuple[int, list[tuple[int, ...]], Sums]:
    """Divide a call into parts.

    Args:
        kernel: the kernel.
        whole: its arguments.
        given: those of the first part. Sums get memory of their own here, if there are several parts.
        jit: nnx_kernels.cpu._jit.
        share: the rows of a part, as `partition` says or others.

    Returns:
        How many parts, how the words of the arguments move from part to part, and what has to be added up.
    """
    n = len(whole[kernel.rows[0]]) if kernel.rows else 1
    parts = -(-n // share)
    moves: list[tuple[int, ...]] = []
    sums: Sums = []
    if parts <= 1:
        return 1, moves, sums
    place = 0
    for i, argument in enumerate(given):
        first = place
        place += len(jit.words(argument))
        if i in kernel.rows and argument.size:
            width = argument.size // n
            moves.append((first + jit.DATA, 0, share * argument.strides[0], -1))
            moves.append((first + 2, 0, share * width, argument.size))
            moves.append((first + jit.SHAPE, 0, share, n))
        elif i in kernel.sums and argument.size:
            every = np.empty((parts, argument.size), argument.dtype)
            sums.append((every, argument))
            given[i] = every[0]
            moves.append((first + jit.DATA, 0, every.strides[0], -1))
        elif i in kernel.own:
            moves.append((first + jit.DATA, 0, whole[i].strides[0], -1))
        elif i == kernel.first:
            moves.append((first, 0, share, -1))
    return parts, moves, sums


def written(
    kernel: Any, dtype: Any, given: list[Any], parts: int, moves: list[tuple[int, ...]], jit: Any, most: int
) -> Array | None:
    """Write down a call of a dtype's version as a job; return None if its arguments are more than `most` words."""
    words = [word for argument in given for word in jit.words(argument)]
    if len(words) > most:
        return None
    patience = 1 if kernel.most is None else _LONG_PARTS
    head = [kernel.address(dtype), len(words), parts, 1, len(moves), patience]
    return np.array([*head, *(number for move in moves for number in move), *words], np.int64)


def part_by_part(kernel: Any, args: Any, share: int) -> Sums:
    """Call a kernel for one part after the other, without a compiler; return what has to be added up."""
    n = len(args[kernel.rows[0]])
    sums = {i: np.empty((-(-n // share), args[i].size), args[i].dtype) for i in kernel.sums if args[i].size}
    for p, first in enumerate(range(0, n, share)):
        given = list(args)
        for i in kernel.rows:
            given[i] = args[i][first : first + share]
        for i, every in sums.items():
            given[i] = every[p]
        for i in kernel.own:
            given[i] = args[i][p]
        if kernel.first is not None:
            given[kernel.first] = args[kernel.first] + first
        kernel(*given)
    return [(every, args[i]) for i, every in sums.items()]
