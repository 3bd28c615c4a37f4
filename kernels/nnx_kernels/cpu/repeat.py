"""A list of jobs done again for another batch: its look at the batch included, without the interpreter between.

What a step takes from one call to the next is its rows, their labels, and a few numbers. That the rows have the shape
of those before, and that the labels number classes, is found out here in less time than NumPy's functions take to be
called. Nothing is written before all of it is known.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import kernel
from .team import call_32, get, put

# What is known of a step and its batches, in words of 8 bytes ---------------------------------------------------------

ROWS, COLUMNS, ITEM, CLASSES, PLACE, LABELS, MOVES, LABEL_MOVES, PLAY, LONG, MOST, JOBS = range(12)
"""How many rows and columns a batch has, the bytes of a number, and how many classes there are; where rows and labels
are copied to, or 0; how many words have addresses in the rows and in the labels. The machine code of `team.play`, what
it takes of waits, and the jobs: by a team and alone, each where they are and how many. Then come the words for the call
of it, and the moves: each is where such a word is, and how far it lies behind the first byte."""
CALL = JOBS + 4
WORDS = 34
"""How many words a call reads."""
FIRST_MOVE = CALL + WORDS


@intrinsic
def _copy(context, to, place, size):
    """Copy bytes from one address to another."""

    def generate(context, builder, signature, given):
        to, place, size = given
        byte = ir.IntType(8).as_pointer()
        cgutils.raw_memcpy(builder, builder.inttoptr(to, byte), builder.inttoptr(place, byte), size, 1)
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(types.int64, types.int64, types.int64), generate


@kernel("mliiii", fast=False, writes="")
def repeat(x, t, step, alone, team, scratch):
    """Do a step's jobs on rows x and labels t, together with a team, or alone where that is 0.

    Returns 1, and has done nothing, if the batch is not like those that the step is for; -1 if a kernel has failed.
    """
    n, classes = get(step + 8 * ROWS), get(step + 8 * CLASSES)
    if len(x) != n or len(t) != n or x.shape[1] != get(step + 8 * COLUMNS) or x.itemsize != get(step + 8 * ITEM):
        return 1
    wrong = 0
    for label in t:
        wrong |= label < 0 or label >= classes
    if wrong:
        return 1
    move = step + 8 * FIRST_MOVE
    for place, moves, first, size in (
        (get(step + 8 * PLACE), get(step + 8 * MOVES), np.intp(x.ctypes.data), x.nbytes),
        (get(step + 8 * LABELS), get(step + 8 * LABEL_MOVES), np.intp(t.ctypes.data), t.nbytes),
    ):
        if place:
            _copy(place, first, size)
        for _ in range(moves):
            put(get(move), first + get(move + 8))
            move += 16
    jobs, call = step + 8 * (JOBS + 2 * alone), step + 8 * CALL
    put(call, call)  # where play puts its result, and where what it raises, which is nothing
    put(call + 8, call + 8)
    put(call + 16, get(jobs))
    put(call + 24, get(jobs + 8))
    put(call + 32, get(step + 8 * LONG))
    put(call + 40, get(step + 8 * MOST))
    put(call + 48, team)
    put(call + 56, scratch)
    status = call_32(call, get(step + 8 * PLAY))
    return -1 if status or get(call) else 0
