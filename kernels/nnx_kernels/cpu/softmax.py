"""Softmax, and its cross-entropy with the gradient.

Rows are taken in blocks that stay in the first-level cache: within a block the exponential runs over all elements at
once, so that it is vectorised for ten classes as for ten thousand.
"""

import math

import numpy as np

from ._jit import inlined, kernel
from .exp import exp

_BLOCK = 4096  # elements


@inlined
def _shift(z, bias, y, first, last):
    """y = z + bias less the maximum of its row."""
    for i in range(first, last):
        if bias.size:
            for j in range(z.shape[1]):
                y[i, j] = z[i, j] + bias[j]
        else:
            for j in range(z.shape[1]):
                y[i, j] = z[i, j]
        top = y[i, 0]
        for j in range(z.shape[1]):
            v = y[i, j]
            top = top if v < top else v  # a NaN becomes, and stays, the maximum unless a number follows; y keeps it
        for j in range(z.shape[1]):
            y[i, j] -= top


@inlined
def _exponentiate(y, first, last):
    flat = y[first:last].reshape(-1)
    for k in range(flat.size):
        flat[k] = exp(flat[k])


@kernel("mvm")
def softmax(z, none, y):
    """y = exp(z) / sum(exp(z)) of each row."""
    n, c = z.shape
    rows = max(1, _BLOCK // c)
    for first in range(0, n, rows):
        last = min(first + rows, n)
        _shift(z, none, y, first, last)
        _exponentiate(y, first, last)
        for i in range(first, last):
            total = y.dtype.type(0)
            for j in range(c):
                total += y[i, j]
            inverse = y.dtype.type(1) / total
            for j in range(c):
                y[i, j] *= inverse


@kernel("mlvmv")
def cross_entropy_of_labels(z, t, bias, dz, db):
    """The mean of -log(softmax(z + bias)) at the labels; dz = (softmax - one-hot) / n, db its column sums."""
    n, c = z.shape
    rows = max(1, _BLOCK // c)
    share = z.dtype.type(1) / z.dtype.type(n)
    loss = 0.0
    db[:] = 0
    for first in range(0, n, rows):
        last = min(first + rows, n)
        _shift(z, bias, dz, first, last)
        for i in range(first, last):
            if 0 <= t[i] < c:
                loss -= dz[i, t[i]]
            else:
                loss = np.nan
        _exponentiate(dz, first, last)
        for i in range(first, last):
            total = z.dtype.type(0)
            for j in range(c):
                total += dz[i, j]
            loss += math.log(total)
            factor = share / total
            for j in range(c):
                dz[i, j] *= factor
            if 0 <= t[i] < c:
                dz[i, t[i]] -= share
            for j in range(db.size):
                db[j] += dz[i, j]
    return loss / n


@kernel("mmvmv")
def cross_entropy_of_rows(z, t, bias, dz, db):
    """The mean of -sum(t * log(softmax(z + bias))); dz = (softmax - t) / n, db its column sums."""
    n, c = z.shape
    rows = max(1, _BLOCK // c)
    share = z.dtype.type(1) / z.dtype.type(n)
    loss = 0.0
    db[:] = 0
    for first in range(0, n, rows):
        last = min(first + rows, n)
        _shift(z, bias, dz, first, last)
        for i in range(first, last):
            expected, weight = z.dtype.type(0), z.dtype.type(0)
            for j in range(c):
                expected += t[i, j] * dz[i, j]
                weight += t[i, j]
            loss -= expected
            total = z.dtype.type(0)
            for j in range(c):
                dz[i, j] = exp(dz[i, j])
                total += dz[i, j]
            loss += weight * math.log(total)
            factor = share / total
            for j in range(c):
                dz[i, j] = dz[i, j] * factor - t[i, j] * share
            for j in range(db.size):
                db[j] += dz[i, j]
    return loss / n
