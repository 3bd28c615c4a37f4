"""Arithmetic on single numbers of a step: gradient clipping, loss scaling, what a plan adds to its loss."""

import math

from ._jit import kernel


@kernel("vvv", fast=False, writes="out")
def add(x, y, out):
    """Compute out = x + y."""
    out[0] = x[0] + y[0]


@kernel("vvv", fast=False, writes="out")
def multiply(x, y, out):
    """Compute out = x * y."""
    out[0] = x[0] * y[0]


@kernel("div", fast=False, writes="out")
def divide(x, n, out):
    """Compute out = x / n, of one number."""
    out[0] = x[0] / n


@kernel("dv", fast=False, writes="out")
def square_root(x, out):
    """Compute out = sqrt(x), of one number."""
    out[0] = math.sqrt(x[0])


@kernel("vvv", fast=False, writes="hyper")
def clip(hyper, norm, limit):
    """Lower grad_scale, the last number of `hyper`, so that grad_scale * norm is at most the limit."""
    scaled = norm[0] * hyper[-1]
    # Written so that a norm that is NaN makes the scale NaN.
    hyper[-1] *= limit[0] / (limit[0] if scaled <= limit[0] else scaled)


@kernel("vv", fast=False, writes="x", rows="x")
def rescale(x, scaling):
    """Multiply x by the loss scale."""
    for i in range(x.size):
        x[i] *= scaling[0]


@kernel("vvv", fast=False, writes="hyper scaling")
def unscale(hyper, norm, scaling):
    """Divide grad_scale, the last number of `hyper`, by the loss scale, and adapt that to the norm.

    scaling: scale, finite steps in succession, steps until it is doubled.
    """
    real = scaling.dtype.type
    hyper[-1] /= scaling[0]
    if not math.isfinite(norm[0]):
        scaling[0] = max(scaling[0] / real(2), real(1))
        scaling[1] = real(0)
        return
    scaling[1] += real(1)
    if scaling[1] >= scaling[2]:
        scaling[0] = min(scaling[0] * real(2), real(2.0**24))
        scaling[1] = real(0)
