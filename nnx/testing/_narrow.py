"""Checks of mixed precision, whose arrays have a dtype of the backend's own."""

import numpy as np

from ..layers import RELU
from ..ops import HostArray, Ops
from . import _reference
from ._case import SUMS
from ._members import require, require_near

PRECISIONS = ("bfloat16", "float16")
_SHAPES = {"odd sizes": (37, 13, 5), "one row": (1, 130, 9), "one input": (6, 1, 11), "one output": (9, 7, 1)}
"""(n, i, o)."""


def rounded(x: HostArray, precision: str) -> HostArray:
    """Round x, in float32, to the nearest number of the format, ties to even."""
    with np.errstate(over="ignore", invalid="ignore"):
        if precision == "float16":
            return x.astype(np.float16).astype(np.float32)
        bits = x.view(np.uint32)
        nearest = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1)) & np.uint32(0xFFFF0000)
        return np.where(np.isnan(x), x, nearest.view(np.float32))


def rounding(ops: Ops, precision: str) -> None:
    """Check random bits, ties, numbers beyond the format's range, zeros of both signs, infinities and NaNs."""
    where = f"narrow[{precision}]"
    random = np.random.default_rng(0).integers(0, 2**32, 5000, np.uint64).astype(np.uint32)
    ties = [random >> digits << digits | 1 << digits - 1 for digits in (16, 13)]
    limits = np.array([0, -0.0, 1, 65519, 65520, -65520, 3.3961775e38, 2**-24, 2**-25, -(2**-26), np.inf, -np.inf])
    powers = 2.0 ** np.arange(-24, 16, dtype=np.float32)
    edges = [np.nextafter(powers, np.float32(0)), powers, np.nextafter(powers, np.float32(np.inf))]
    x = np.concatenate([random.view(np.float32), *edges, *(t.astype(np.uint32).view(np.float32) for t in ties)])
    nans = np.array([0x7FC00000, 0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    x = np.concatenate([x[~(np.abs(x) <= 1e-36)], limits.astype(np.float32), nans])  # GPUs flush denormals
    expected = rounded(x, precision)
    with np.errstate(over="ignore", invalid="ignore"):
        got = ops.narrow(ops.to_device(x), precision)
        again = ops.narrow(ops.to_device(x[::-1].copy()), precision, out=ops.narrow(ops.to_device(x), precision))
    require(got.shape == x.shape, f"{where} has shape {got.shape}, expected {x.shape}")
    for name, array, values in (("the result", got, expected), ("out", again, expected[::-1])):
        host = np.array(ops.to_host(array)).astype(np.float32)
        wrong = ~((host == values) & (np.signbit(host) == np.signbit(values)) | np.isnan(host) & np.isnan(values))
        if wrong.any():
            at = int(np.argmax(wrong))
            given = (x if name == "the result" else x[::-1])[at]
            raise AssertionError(f"{where}, {name}: {given!r} became {host[at]!r}, expected {values[at]!r}")


def products(ops: Ops, precision: str) -> None:
    """Check `affine` and `affine_backward` of narrowed arrays: exact products, summed in float32."""
    r = np.random.default_rng(1)
    for shape, (n, i, o) in _SHAPES.items():
        where = f"narrow[{precision}], {shape}"
        host = {
            name: rounded(r.normal(size=size).astype(np.float32), precision)
            for name, size in (("x", (n, i)), ("w", (i, o)), ("dy", (n, o)))
        }
        x, w, dy = (ops.narrow(ops.to_device(a), precision) for a in host.values())
        b = r.normal(size=o).astype(np.float32)
        wide = {name: a.astype(np.float64) for name, a in host.items()}
        backward = _reference.affine_backward(**wide)
        dx, dw = (ops.to_device(np.full(backward[name].shape, np.nan, np.float32)) for name in ("dx", "dw"))
        ops.affine_backward(dy, x, w, dx=dx, dw=dw)
        results = {
            "affine": (ops.affine(x, w, ops.to_device(b)), _reference.affine(wide["x"], wide["w"], b)),
            "affine without b": (ops.affine(x, w), _reference.affine(wide["x"], wide["w"])),
            "affine with ReLU": (
                ops.affine(x, w, ops.to_device(b), activation=RELU),
                _reference.affine(wide["x"], wide["w"], b, RELU),
            ),
            "dx": (dx, backward["dx"]),
            "dw": (dw, backward["dw"]),
        }
        for name, (array, expected) in results.items():
            got = np.array(ops.to_host(array))
            require(got.dtype == np.float32, f"{where}: {name} has dtype {got.dtype}, expected float32")
            require_near(got, expected, SUMS[0], f"{where}: {name}")
