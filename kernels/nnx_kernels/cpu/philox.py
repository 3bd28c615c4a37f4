"""Philox4x32-10 (Salmon et al. 2011) and dropout by its words."""

import numpy as np

from ._jit import inlined, kernel

_BLOCKS = 256  # of four words; their rows stay in the first-level cache


@inlined
def _words(first, rows, words, rng):
    """Compute the words of the blocks first, first + 1, ... in their order.

    rows: (4, blocks), scratch: words stored in steps of four would keep LLVM from vectorising the rounds.
    """
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    m0, m1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
    w0, w1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
    key0, key1 = np.uint64(rng[0]), np.uint64(rng[1])
    layer, step_low, step_high = np.uint64(rng[2]), np.uint64(rng[3]), np.uint64(rng[4])
    start = np.uint64(first)
    for k in range(_BLOCKS):
        c0, c1, c2, c3 = (start + np.uint64(k)) & low, layer, step_low, step_high
        k0, k1 = key0, key1
        for _ in range(10):
            p0, p1 = c0 * m0, c2 * m1
            c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ k0, p1 & low, (p0 >> half) ^ c3 ^ k1, p0 & low
            k0, k1 = (k0 + w0) & low, (k1 + w1) & low
        rows[0, k], rows[1, k], rows[2, k], rows[3, k] = np.uint32(c0), np.uint32(c1), np.uint32(c2), np.uint32(c3)
    for k in range(_BLOCKS):
        words[4 * k], words[4 * k + 1] = rows[0, k], rows[1, k]
        words[4 * k + 2], words[4 * k + 3] = rows[2, k], rows[3, k]


@kernel("WWi", writes="words")
def philox(rng, words, row):
    """Fill `words`, uint32, with the stream of `rng` from the word rng[6] * row on."""
    rows, block = np.empty((4, _BLOCKS), np.uint32), np.empty(4 * _BLOCKS, np.uint32)
    first, low = np.int64(rng[6]) * row, 0
    while low < words.size:
        some = block[(first + low) % 4 :]
        _words((first + low) // 4, rows, block, rng)
        part = words[low : low + some.size]
        for k in range(part.size):
            part[k] = some[k]
        low += some.size


@kernel("vWvvBii", writes="y mask", rows="x y mask", first="start")
def dropout(x, rng, scale, y, mask, row, start):
    """Compute mask = word >= rng[5]; y = x * mask * scale[0].

    row: how many elements a row has; the first is that of the row rng[6].
    start: the place of x[0] in the whole.
    """
    rows, block = np.empty((4, _BLOCKS), np.uint32), np.empty(4 * _BLOCKS, np.uint32)
    threshold, zero, factor = rng[5], x.dtype.type(0), scale[0]
    first, low = np.int64(rng[6]) * row + start, 0
    while low < x.size:
        words = block[(first + low) % 4 :]
        _words((first + low) // 4, rows, block, rng)
        high = low + words.size
        part, result, bits = x[low:high], y[low:high], mask[low:high]
        for e in range(part.size):
            bits[e] = words[e] >= threshold
        for e in range(part.size):
            result[e] = part[e] * (factor if words[e] >= threshold else zero)
        low = high


@kernel("mMvmv", writes="dx db", rows="dy mask dx", sums="db")
def dropout_backward(dy, mask, scale, dx, db):
    """Compute dx = dy * mask * scale[0] and its column sums db, empty where nobody wants them."""
    n, c = dy.shape
    zero, factor = dy.dtype.type(0), scale[0]
    db[:] = 0
    for i in range(n):
        for j in range(c):
            dx[i, j] = dy[i, j] * (factor if mask[i, j] else zero)
        for j in range(db.size):
            db[j] += dx[i, j]
