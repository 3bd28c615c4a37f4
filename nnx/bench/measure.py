"""Timing: medians of rounds, and this machine's own ceilings."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..backend import environment
from ..ops import Ops


def nothing_to_wait_for() -> None:
    """Return at once: for work that is done when its call returns."""


def per_call(
    run: Callable[[int], Any],
    wait: Callable[[], Any] = nothing_to_wait_for,
    *,
    seconds: float = 0.3,
    rounds: int = 7,
) -> float:
    """Measure the seconds per call: the median over rounds.

    Args:
        run: The work; its argument is the number of the call within the rounds, from 0.
        wait: Returns when the device has done what was called. It is called before and after a round, so that a host
            may run ahead of its device within the round, as in a training.
        seconds: About how long all rounds take together.
        rounds: Number of rounds.
    """
    run(0)
    wait()
    start = time.perf_counter()
    run(1)
    wait()
    once = max(time.perf_counter() - start, 1e-7)
    count = max(1, round(seconds / rounds / once))
    times = []
    for r in range(rounds):
        start = time.perf_counter()
        for i in range(count):
            run(r * count + i)
        wait()
        times.append((time.perf_counter() - start) / count)
    return statistics.median(times)


def device_rates(ops: Ops) -> dict[str, float]:
    """Measure `product_rate` and `triad_rate` of a backend's own device."""
    xp, wait = ops.xp, ops.backend.synchronize
    rng = np.random.default_rng(0)
    size = 8192
    a, b, c = (ops.to_device(rng.random((size, size), np.float32)) for _ in range(3))
    product = 2 * size**3 / per_call(lambda i: ops.matmul(a, b, out=c), wait, seconds=1.0)
    x, y, z = (xp.tile(xp.reshape(part, (-1,)), 4) for part in (a, b, c))
    return {"product": product, "triad": 12 * x.size / per_call(lambda i: xp.add(x, y, out=z), wait, seconds=1.0)}


def product_rate(dtype: str = "float32", size: int = 2048) -> float:
    """Measure the floating-point operations per second of NumPy's product of two square matrices."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((size, size)).astype(dtype) for _ in range(2))
    out = np.empty_like(a)
    return 2 * size**3 / per_call(lambda i: np.matmul(a, b, out=out), seconds=1.0)


def triad_rate(size: int = 32_000_000) -> float:
    """Measure the bytes per second of c = a + b on all cores.

    The float32 arrays are far larger than the caches; an element counts 12 bytes.
    """
    count = environment.cores()
    a, b, c = (np.ones(size, np.float32) for _ in range(3))
    parts = [slice(i * size // count, (i + 1) * size // count) for i in range(count)]
    with ThreadPoolExecutor(count) as pool:

        def run(i: int) -> None:
            list(pool.map(lambda part: np.add(a[part], b[part], out=c[part]), parts))

        return 12 * size / per_call(run, seconds=1.0)
