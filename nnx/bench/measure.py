"""Timing: medians of rounds, and this machine's own ceilings."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .peers import _threads


def per_call(run: Callable[[int], Any], *, seconds: float = 0.3, rounds: int = 7) -> float:
    """Seconds per call: the median over rounds that take about `seconds` in all."""
    run(0)
    start = time.perf_counter()
    run(1)
    once = max(time.perf_counter() - start, 1e-7)
    count = max(1, round(seconds / rounds / once))
    times = []
    for r in range(rounds):
        start = time.perf_counter()
        for i in range(count):
            run(r * count + i)
        times.append((time.perf_counter() - start) / count)
    return statistics.median(times)


def product_rate(dtype: str = "float32", size: int = 2048) -> float:
    """Floating-point operations per second of NumPy's product of two square matrices."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((size, size)).astype(dtype) for _ in range(2))
    out = np.empty_like(a)
    return 2 * size**3 / per_call(lambda i: np.matmul(a, b, out=out), seconds=1.0)


def triad_rate(size: int = 32_000_000) -> float:
    """Bytes per second of c = a + b on float32 arrays far larger than the caches, on all cores: 12 bytes an element."""
    threads = _threads()
    a, b, c = (np.ones(size, np.float32) for _ in range(3))
    parts = [slice(i * size // threads, (i + 1) * size // threads) for i in range(threads)]
    with ThreadPoolExecutor(threads) as pool:

        def run(i: int) -> None:
            list(pool.map(lambda part: np.add(a[part], b[part], out=c[part]), parts))

        return 12 * size / per_call(run, seconds=1.0)
