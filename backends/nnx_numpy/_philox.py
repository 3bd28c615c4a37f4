"""Philox4x32-10 in place on uint64 words, block by block."""

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_BLOCK = 8192  # counters: the seven working rows of 64 KiB stay in the second-level cache
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85


def _block(first: int, words: Array, rng: Array) -> None:
    """Write the words of the blocks first, first + 1, ... into words: (blocks, 4) uint32."""
    n = len(words)
    c0 = np.arange(first, first + n, dtype=np.uint64)
    c1, c2, c3 = (np.full(n, rng[i], np.uint64) for i in (2, 3, 4))
    p0, p1 = np.empty_like(c0), np.empty_like(c0)
    k0, k1 = int(rng[0]), int(rng[1])
    for _ in range(10):
        np.multiply(c0, _M0, out=p0)
        np.multiply(c2, _M1, out=p1)
        # The new c0 and c2 are built where the old c1 and c3 are, the new c1 and c3 where the products are.
        np.bitwise_xor(c1, np.uint64(k0), out=c1)
        np.right_shift(p1, _32, out=c0)
        np.bitwise_xor(c1, c0, out=c1)
        np.bitwise_xor(c3, np.uint64(k1), out=c3)
        np.right_shift(p0, _32, out=c0)
        np.bitwise_xor(c3, c0, out=c3)
        np.bitwise_and(p1, _LOW, out=p1)
        np.bitwise_and(p0, _LOW, out=p0)
        c0, c1, c2, c3, p0, p1 = c1, p1, c3, p0, c0, c2
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    for i, c in enumerate((c0, c1, c2, c3)):
        words[:, i] = c


class PhiloxOps:
    """Random words, and dropout, which uses them."""

    def philox(self, rng: Array, size: int, row: int = 1) -> Array:
        block, skipped = divmod(int(rng[6]) * row, 4)
        words = np.empty(((skipped + size + 3) // 4, 4), np.uint32)
        for low in range(0, len(words), _BLOCK):
            _block(block + low, words[low : low + _BLOCK], rng)
        return words.reshape(-1)[skipped : skipped + size]

    def dropout(
        self, x: Array, rng: Array, factor: Array, *, out: Array | None = None, mask: Array | None = None
    ) -> Array:
        kept = np.greater_equal(self.philox(rng, x.size, math.prod(x.shape[1:])).reshape(x.shape), rng[5], out=mask)
        y = np.multiply(kept, factor, out=out, dtype=x.dtype)
        return np.multiply(y, x, out=y)
