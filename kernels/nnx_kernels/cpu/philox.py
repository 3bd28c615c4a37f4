"""Philox4x32-10 (Salmon et al. 2011) and dropout by its words."""

import numpy as np

from ._jit import inlined, kernel

_BLOCKS = 256  # of four words; their rows stay in the first-level cache


@inlined
def _words(first, c0, c1, c2, c3, rng):
    """The words of the blocks first, first + 1, ...: one round for all of them, then the next."""
    low, m0, m1 = np.uint64(0xFFFFFFFF), np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
    w0, w1, half = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85), np.uint64(32)
    for k in range(c0.size):
        c0[k] = np.uint64(first + k) & low
        c1[k], c2[k], c3[k] = np.uint64(rng[2]), np.uint64(rng[3]), np.uint64(rng[4])
    k0, k1 = np.uint64(rng[0]), np.uint64(rng[1])
    for _ in range(10):
        for k in range(c0.size):
            p0, p1 = c0[k] * m0, c2[k] * m1
            c0[k] = (p1 >> half) ^ c1[k] ^ k0
            c1[k] = p1 & low
            c2[k] = (p0 >> half) ^ c3[k] ^ k1
            c3[k] = p0 & low
        k0, k1 = (k0 + w0) & low, (k1 + w1) & low


@inlined
def _rows():
    return (
        np.empty(_BLOCKS, np.uint64),
        np.empty(_BLOCKS, np.uint64),
        np.empty(_BLOCKS, np.uint64),
        np.empty(_BLOCKS, np.uint64),
    )


@kernel("WW")
def philox(rng, words):
    """Fill `words`, uint32, with the stream of `rng`."""
    c0, c1, c2, c3 = _rows()
    for first in range(0, (words.size + 3) // 4, _BLOCKS):
        _words(first, c0, c1, c2, c3, rng)
        part = words[4 * first : 4 * (first + _BLOCKS)]
        for k in range(part.size // 4):
            part[4 * k] = np.uint32(c0[k])
            part[4 * k + 1] = np.uint32(c1[k])
            part[4 * k + 2] = np.uint32(c2[k])
            part[4 * k + 3] = np.uint32(c3[k])
    rest = words.size % 4
    if rest:
        k = words.size // 4 % _BLOCKS
        for w in range(rest):
            words[words.size - rest + w] = np.uint32(c0[k] if w == 0 else c1[k] if w == 1 else c2[k])


@kernel("vWsvB")
def dropout(x, rng, factor, y, mask):
    """mask = word >= rng[5]; y = x * mask * factor."""
    words = np.empty(4 * _BLOCKS, np.uint32)
    c0, c1, c2, c3 = _rows()
    threshold, zero = rng[5], x.dtype.type(0)
    for first in range(0, (x.size + 3) // 4, _BLOCKS):
        _words(first, c0, c1, c2, c3, rng)
        for k in range(_BLOCKS):
            words[4 * k] = np.uint32(c0[k])
            words[4 * k + 1] = np.uint32(c1[k])
            words[4 * k + 2] = np.uint32(c2[k])
            words[4 * k + 3] = np.uint32(c3[k])
        low, high = 4 * first, 4 * (first + _BLOCKS)
        part, result, bits = x[low:high], y[low:high], mask[low:high]
        for e in range(part.size):
            kept = words[e] >= threshold
            bits[e] = kept
            result[e] = part[e] * (factor if kept else zero)


@kernel("mBsmv")
def dropout_backward(dy, mask, factor, dx, db):
    """dx = dy * mask * factor; db its column sums, empty where nobody wants it. mask: flat."""
    n, c = dy.shape
    zero = dy.dtype.type(0)
    db[:] = 0
    for i in range(n):
        bits = mask[i * c : (i + 1) * c]
        for j in range(c):
            dx[i, j] = dy[i, j] * (factor if bits[j] else zero)
        for j in range(db.size):
            db[j] += dx[i, j]
