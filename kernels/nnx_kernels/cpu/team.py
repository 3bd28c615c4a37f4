"""Jobs: calls of kernels that are written down in memory, and worked at by one thread or by a team.

A job is the address of a kernel's machine code, its arguments, and how they move from one part of the work to the next:
a part has its own rows of some arrays. It takes no interpreter to do a job, and none to do a whole list of them. A
stage is jobs whose parts need not wait for each other: several side by side, or chains, whose jobs are done one after
the other for the same part.

One thread gives a job to a team, of which it is a member, by writing down where the job is in a block of memory that
all know. Every member claims one part after the other, until none is left: who is slow, because another process has its
processor, has few. The thread that gave the job claims from the first part on, every second member from the last one
backwards: so the same rows meet the same cache in one job after the other. Members wait for the next job by looking for
it, for a while; then they are parked by Python. What a part computes depends on nothing but the job.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import inlined, kernel
from .flush import X86, begin, end

_INT = ir.IntType(64)

# A job, in words of 8 bytes ------------------------------------------------------------------------------------------

FUNCTION, COUNT, PARTS, ACROSS, MOVES, PATIENCE, HEAD = range(7)
"""The kernel's address; how many words its arguments have; how many parts the job has, and how many of them lie side by
side; how many moves there are; how many times as long as for short parts it is right to wait for the last one. The
moves follow, and then the arguments."""
MOVE = 4
"""The words of a move: which word of the arguments, whether it follows the parts down (0) or across (1), how much is
added to it for each part, and the total that it is a share of, or -1 where it is an address or a place."""
MOST = 128
"""How many words a job's arguments may have."""
# A stage has a head like a job's: the address is 0, and its chains are counted in place of words. Of each chain follow
# how many parts and how many jobs it has, and where these are.

# The block of a team, in bytes ----------------------------------------------------------------------------------------

_LINE = 64  # what is written often has a line of the cache for itself
TICKET, DONE, SPINNING, HELD, JOB = (_LINE * i for i in range(5))
"""Which parts are left, and of which job; how many are done; how many members look for work; whether more jobs follow
at once; where the job is."""
ALONE, PENALTY = JOB + 8, JOB + 16
"""How many of the next jobs are done alone, and how many after the next long wait."""
PLACES = 5 * _LINE // 8
"""How many words the block has."""
SCRATCH = MOST + 2
"""How many words a member needs to call kernels: what they return, what they raise, and the arguments of its part."""


def declare(module, name, result, parameters):
    """Return a function of LLVM's or of another module, declared once."""
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, parameters), name)


def _on_memory(arguments, operation):
    """Type a function of an address and other numbers, and generate it from an operation on what lies there."""

    def generate(context, builder, signature, given):
        return operation(builder, builder.inttoptr(given[0], _INT.as_pointer()), *given[1:])

    return types.int64(*[types.int64] * arguments), generate


@intrinsic
def get(context, address):
    """Read the word at an address."""
    return _on_memory(1, lambda builder, place: builder.load(place))


@intrinsic
def put(context, address, value):
    """Write a word to an address."""

    def operation(builder, place, value):
        builder.store(value, place)
        return value

    return _on_memory(2, operation)


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
            builder.call(declare(builder.module, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        return ir.Constant(_INT, 0)

    return _on_memory(1, operation)


def _calling(words):
    """Make call(scratch, function): it calls machine code by Numba's convention and returns its status.

    A function gets where to write its result, where to write what it raises, and its arguments, all of which are words
    here: numbers, and arrays in seven of them and more. Whoever calls a C function takes its arguments away again, so
    that one with fewer words may be given all.
    """

    def typed(context, scratch, function):
        def operation(builder, place, function):
            given = [builder.load(builder.gep(place, [ir.Constant(_INT, i)])) for i in range(words + 2)]
            kind = ir.FunctionType(ir.IntType(32), [_INT] * (words + 2)).as_pointer()
            return builder.sext(builder.call(builder.inttoptr(function, kind), given), _INT)

        return _on_memory(2, operation)

    return intrinsic(typed)


call_32, _call_64, _call_128 = (_calling(words) for words in (32, 64, MOST))


@inlined
def _call(job, p, scratch):
    """Do part p of a job; return 0, or the status of a kernel that has failed."""
    count, moves, across = get(job + 8 * COUNT), get(job + 8 * MOVES), get(job + 8 * ACROSS)
    move, given = job + 8 * HEAD, scratch + 16
    arguments = move + 8 * MOVE * moves
    for i in range(count):
        put(given + 8 * i, get(arguments + 8 * i))
    down, side = p // across, p % across
    for _ in range(moves):
        word, step, total = given + 8 * get(move), get(move + 16), get(move + 24)
        moved = step * (side if get(move + 8) else down)
        put(word, get(word) + moved if total < 0 else min(step, total - moved))
        move += 8 * MOVE
    put(scratch, scratch)  # the result of a kernel that returns nothing is a null, written over this word
    put(scratch + 8, scratch + 8)
    function = get(job + 8 * FUNCTION)
    if count <= 32:
        return call_32(scratch, function)
    if count <= 64:
        return _call_64(scratch, function)
    return _call_128(scratch, function)


@inlined
def _do(job, p, scratch):
    """Do part p of a job, or of the stage that it is; return 0, or the status of a kernel that has failed."""
    if get(job + 8 * FUNCTION):
        return _call(job, p, scratch)
    chain = job + 8 * HEAD
    while p >= get(chain):
        p -= get(chain)
        chain += 16 + 8 * get(chain + 8)
    for k in range(get(chain + 8)):
        status = _call(get(chain + 16 + 8 * k), p, scratch)
        if status != 0:
            return status
    return 0


# A ticket says which job it is (32 bits), and the first part that is left and the one after the last (16 bits each).


@inlined
def _claim(team, backwards):
    """Claim a part; return its number, or -1 where none is left."""
    while True:
        ticket = _load(team + TICKET)
        first, last = (ticket >> 16) & 0xFFFF, ticket & 0xFFFF
        if first >= last:
            return -1
        if _swap(team + TICKET, ticket, ticket - 1 if backwards else ticket + 0x10000):
            return last - 1 if backwards else first


@kernel("iiii", fast=False)
def look_for_work(team, limit, backwards, scratch):
    """Work at the jobs of a team, until there was none for so many looks, or eight times as many between two jobs."""
    before = begin()
    _add(team + SPINNING, 1)
    looks = 0
    while looks < limit or (looks < 8 * limit and _load(team + HELD)):
        p = _claim(team, backwards)
        if p < 0:
            _pause(team)
            looks += 1
        else:
            status = _do(_load(team + JOB), p, scratch)
            _add(team + DONE, 1 if status == 0 else 1 << 32)
            looks = 0
    _add(team + SPINNING, -1)
    end(before)


@inlined
def _share(team, job, scratch):
    """Work at a job with a team, and wait until all parts are done.

    Returns how often it looked for the last part; -1 if a kernel has failed.
    """
    parts = get(job + 8 * PARTS)
    _store(team + JOB, job)
    _store(team + DONE, 0)
    _store(team + TICKET, ((_load(team + TICKET) >> 32) + 1) << 32 | parts)
    p = _claim(team, 0)
    while p >= 0:
        if _do(job, p, scratch) == 0:
            _add(team + DONE, 1)
        else:
            _add(team + DONE, 1 << 32)
        p = _claim(team, 0)
    looks = 0
    done = _load(team + DONE)
    while (done & 0xFFFFFFFF) + (done >> 32) < parts:
        _pause(team)
        looks += 1
        done = _load(team + DONE)
    return -1 if done >> 32 else looks


@inlined
def _judge(team, looks, long, most):
    """Leave the team alone after a long wait: twice as long each time, and less so again after short ones."""
    penalty = get(team + PENALTY)
    if looks > long:
        put(team + ALONE, penalty)
        put(team + PENALTY, min(2 * penalty, most))
        _store(team + HELD, 0)
    elif penalty > 1:
        put(team + PENALTY, penalty - 1)


@kernel("iiiiii", fast=False)
def play(jobs, count, long, most, team, scratch):
    """Do jobs one after the other, whose addresses are in a list; together with a team, or alone where that is 0.

    long: looks for the last part of a job after which the team is left alone; most: for how many jobs at most. Returns
    -1 if a kernel has failed, else 0.
    """
    before = begin()
    failed = 0
    if team and count > 1 and get(team + ALONE) == 0:
        _store(team + HELD, 1)
    for k in range(count):
        job = get(jobs + 8 * k)
        parts = get(job + 8 * PARTS)
        shared = team != 0 and parts > 1
        if shared and get(team + ALONE) > 0:
            put(team + ALONE, get(team + ALONE) - 1)
            shared = False
        if shared:
            looks = _share(team, job, scratch)
            failed |= looks < 0
            _judge(team, looks, long * get(job + 8 * PATIENCE), most)
        else:
            for p in range(parts):
                failed |= _do(job, p, scratch) != 0
        if failed:
            break
    if team:
        _store(team + HELD, 0)
    end(before)
    return -1 if failed else 0
