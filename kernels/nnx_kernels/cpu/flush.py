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

_FLUSH = np.uint32(0x8040)  # flush to zero, denormals are zero: Intel's manual, volume 1, section 10.2.3
_COMPILED = not config.DISABLE_JIT
X86 = platform.machine().lower() in ("x86_64", "amd64")


def _declare(builder, name):
    pointer = ir.IntType(8).as_pointer()
    return builder.module.declare_intrinsic(name, (), ir.FunctionType(ir.VoidType(), [pointer])), pointer


@intrinsic
def _read(typing):
    def generate(context, builder, signature, arguments):
        function, pointer = _declare(builder, "llvm.x86.sse.stmxcsr")
        place = builder.alloca(ir.IntType(32))
        builder.call(function, [builder.bitcast(place, pointer)])
        return builder.load(place)

    return types.uint32(), generate


@intrinsic
def _write(typing, value):
    def generate(context, builder, signature, arguments):
        function, pointer = _declare(builder, "llvm.x86.sse.ldmxcsr")
        place = builder.alloca(ir.IntType(32))
        builder.store(arguments[0], place)
        builder.call(function, [builder.bitcast(place, pointer)])
        return context.get_dummy_value()

    return types.void(types.uint32), generate


@njit
def _begin():
    before = _read()
    _write(np.uint32(before | _FLUSH))
    return before


@njit
def _end(before):
    _write(np.uint32(before))


def _begin_nothing():
    return np.uint32(0)


def _end_nothing(before):
    pass


if X86 and _COMPILED:
    begin, end = _begin, _end
else:
    begin, end = (njit(f) for f in (_begin_nothing, _end_nothing))
"""`before = begin()` at the start of a kernel, `end(before)` at its end."""
