"""Denormal numbers treated as zero, while one kernel runs.

Where a network has learned its data, moments and gradients shrink below 1e-38, and x86 processors then take up to a
hundred times as long for an operation. The mode is a register of the running thread: it is set at a kernel's start and
restored at its end.
"""

import platform

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic

_WORD = ir.IntType(32)
_FLUSH = 0x8040  # flush to zero, denormals are zero: Intel's manual, volume 1, section 10.2.3
_COMPILED = not config.DISABLE_JIT
X86 = platform.machine().lower() in ("x86_64", "amd64")


def _register(builder, name, place):
    """Write the register to memory (stmxcsr), or read it from there (ldmxcsr)."""
    pointer = ir.IntType(8).as_pointer()
    function = builder.module.declare_intrinsic(f"llvm.x86.sse.{name}", (), ir.FunctionType(ir.VoidType(), [pointer]))
    builder.call(function, [builder.bitcast(place, pointer)])


@intrinsic
def _begin(typing):
    def generate(context, builder, signature, arguments):
        place = builder.alloca(_WORD)
        _register(builder, "stmxcsr", place)
        before = builder.load(place)
        builder.store(builder.or_(before, ir.Constant(_WORD, _FLUSH)), place)
        _register(builder, "ldmxcsr", place)
        return before

    return types.uint32(), generate


@intrinsic
def _end(typing, before):
    def generate(context, builder, signature, arguments):
        place = builder.alloca(_WORD)
        builder.store(arguments[0], place)
        _register(builder, "ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.uint32), generate


def _begin_nothing():
    return np.uint32(0)


def _end_nothing(before):
    pass


if X86 and _COMPILED:
    begin, end = _begin, _end
else:
    begin, end = (njit(f) for f in (_begin_nothing, _end_nothing))
"""`before = begin()` at the start of a kernel, `end(before)` at its end."""
