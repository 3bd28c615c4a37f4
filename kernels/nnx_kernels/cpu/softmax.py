"""Softmax, and its cross-entropy with the gradient.

Narrow rows are taken in blocks that stay in the first-level cache: within a block the exponential runs over all
elements at once, so that it is vectorised for ten classes, too. A wide row takes three passes: its maximum, the
exponentials with their sum, and the division.
"""

import math

import numpy as np

from ._jit import fast_inlined, inlined, kernel
from .functions import decay
from .views import in_a_row

_BLOCK = 4096  # elements
_LANES = 64
WIDE = 2 * _LANES


@inlined
def _maximum(row, lanes):
    """Return the maximum of a row, for wide rows in lanes: LLVM does not vectorise a maximum that minds NaN.

    (Which NaN or number comes out where there is a NaN does not matter: the row keeps it.)
    """
    top, whole = row[0], 0
    if lanes is not None and row.size >= WIDE:
        whole = row.size // _LANES
        for k in range(_LANES):
            lanes[k] = row[k]
        for b in range(1, whole):
            part = row[_LANES * b : _LANES * (b + 1)]
            for k in range(_LANES):
                lanes[k] = lanes[k] if part[k] < lanes[k] else part[k]
        for k in range(_LANES):
            top = top if lanes[k] < top else lanes[k]
    rest = row[_LANES * whole :]
    for j in range(rest.size):
        top = top if rest[j] < top else rest[j]
    return top


@fast_inlined
def _exponentials(row, top, out):
    """Compute out = decay(row - top); return its sum."""
    total = out.dtype.type(0)
    for j in range(row.size):
        e = decay(row[j] - top)
        out[j] = e
        total += e
    return total


@inlined
def _maximum_with(row, bias, lanes):
    """Return the maximum of row + bias, for wide rows."""
    whole = row.size // _LANES
    for k in range(_LANES):
        lanes[k] = -np.inf
    for b in range(whole):
        part, added = row[_LANES * b : _LANES * (b + 1)], bias[_LANES * b : _LANES * (b + 1)]
        for k in range(_LANES):
            value = part[k] + added[k]
            lanes[k] = lanes[k] if value < lanes[k] else value
    top = _maximum(lanes, lanes)
    for j in range(_LANES * whole, row.size):
        value = row[j] + bias[j]
        top = top if value < top else value
    return top


@fast_inlined
def _exponentials_with(row, bias, top, out):
    """Compute out = decay(row + bias - top); return its sum."""
    total = out.dtype.type(0)
    for j in range(row.size):
        e = decay(row[j] + bias[j] - top)
        out[j] = e
        total += e
    return total


@fast_inlined
def _scale(row, factor):
    for j in range(row.size):
        row[j] *= factor


@inlined
def _shift(z, bias, y, first, last, lanes):
    """Compute y = z + bias less the maximum of its row."""
    for i in range(first, last):
        if bias.size:
            for j in range(z.shape[1]):
                y[i, j] = z[i, j] + bias[j]
        else:
            for j in range(z.shape[1]):
                y[i, j] = z[i, j]
        top = _maximum(y[i], lanes)
        for j in range(z.shape[1]):
            y[i, j] -= top


@inlined
def _exponentiate(y, first, last):
    flat = in_a_row(y[first:last])
    for k in range(flat.size):
        flat[k] = decay(flat[k])


@kernel("mm", writes="y", rows="z y")
def softmax(z, y):
    """Compute y = decay(z) / sum(exp(z)) of each row, of fewer than WIDE numbers."""
    n, c = z.shape
    one, rows, none = z.dtype.type(1), max(1, _BLOCK // c), in_a_row(z)[:0]
    for first in range(0, n, rows):
        last = min(first + rows, n)
        _shift(z, none, y, first, last, None)
        _exponentiate(y, first, last)
        for i in range(first, last):
            total = y.dtype.type(0)
            for j in range(c):
                total += y[i, j]
            inverse = one / total
            for j in range(c):
                y[i, j] *= inverse


@kernel("mm", writes="y", rows="z y")
def softmax_of_wide(z, y):
    """Compute the same of wide rows."""
    lanes, one = np.empty(_LANES, z.dtype), z.dtype.type(1)
    for i in range(z.shape[0]):
        total = _exponentials(z[i], _maximum(z[i], lanes), y[i])
        _scale(y[i], one / total)


@kernel("mlvvmvdi", writes="dz db sums", rows="z t weight dz", sums="db sums")
def cross_entropy_of_labels(z, t, weight, bias, dz, db, sums, of):
    """Compute sums[0], the sum of -log(softmax(z + bias)) at the labels, of rows with fewer than WIDE numbers.

    dz = (softmax - one-hot) / of; db: its column sums. weight: factors of the rows, or empty. of: the rows of the whole
    batch, of which z may be a part.
    """
    n, c = z.shape
    one = z.dtype.type(1)
    share = one / z.dtype.type(of)
    loss = 0.0
    db[:] = 0
    for i in range(n):
        if not 0 <= t[i] < c:
            loss = np.nan
    rows = max(1, _BLOCK // c)
    for first in range(0, n, rows):
        last = min(first + rows, n)
        _shift(z, bias, dz, first, last, None)
        for i in range(first, last):
            if 0 <= t[i] < c:
                loss -= (weight[i] if weight.size else one) * dz[i, t[i]]
        _exponentiate(dz, first, last)
        for i in range(first, last):
            total = z.dtype.type(0)
            for j in range(c):
                total += dz[i, j]
            w = weight[i] if weight.size else one
            loss += w * math.log(total)
            factor = w * share / total
            for j in range(c):
                dz[i, j] *= factor
            if 0 <= t[i] < c:
                dz[i, t[i]] -= w * share
            for j in range(db.size):
                db[j] += dz[i, j]
    sums[0] = loss


@kernel("mlvvmvdi", writes="dz db sums", rows="z t weight dz", sums="db sums")
def cross_entropy_of_labels_of_wide(z, t, weight, bias, dz, db, sums, of):
    """Compute the same of wide rows."""
    n, c = z.shape
    lanes = np.empty(_LANES, z.dtype)
    one = z.dtype.type(1)
    share = one / z.dtype.type(of)
    loss = 0.0
    db[:] = 0
    for i in range(n):
        if not 0 <= t[i] < c:
            loss = np.nan
    for i in range(n):
        valid = 0 <= t[i] < c
        label = t[i] if valid else 0
        w = weight[i] if weight.size else one
        if bias.size:
            top = _maximum_with(z[i], bias, lanes)
            below = top - (z[i, label] + bias[label])
            total = _exponentials_with(z[i], bias, top, dz[i])
        else:
            top = _maximum(z[i], lanes)
            below = top - z[i, label]
            total = _exponentials(z[i], top, dz[i])
        loss += w * (below + math.log(total))
        _scale(dz[i], w * share / total)
        if valid:
            dz[i, label] -= w * share
        for j in range(db.size):
            db[j] += dz[i, j]
    sums[0] = loss


@kernel("mmvvmvdi", writes="dz db sums", rows="z t weight dz", sums="db sums")
def cross_entropy_of_rows(z, t, weight, bias, dz, db, sums, of):
    """Compute sums[0], the sum of -sum(t * log(softmax(z + bias))); dz = (softmax - t) / of, db its column sums."""
    n, c = z.shape
    rows, lanes = max(1, _BLOCK // c), np.empty(_LANES, z.dtype)
    one = z.dtype.type(1)
    share = one / z.dtype.type(of)
    loss = 0.0
    db[:] = 0
    for first in range(0, n, rows):
        last = min(first + rows, n)
        _shift(z, bias, dz, first, last, lanes)
        for i in range(first, last):
            expected, target = z.dtype.type(0), z.dtype.type(0)
            for j in range(c):
                expected += t[i, j] * dz[i, j]
                target += t[i, j]
            total = z.dtype.type(0)
            for j in range(c):
                dz[i, j] = decay(dz[i, j])
                total += dz[i, j]
            w = weight[i] if weight.size else one
            loss += w * (target * math.log(total) - expected)
            share_of_row = w * share
            factor = share_of_row / total
            for j in range(c):
                dz[i, j] = dz[i, j] * factor - t[i, j] * share_of_row
            for j in range(db.size):
                db[j] += dz[i, j]
    sums[0] = loss
