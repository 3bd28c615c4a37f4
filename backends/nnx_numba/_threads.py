"""The number of threads, and a small pool that works on slices of large arrays."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def thread_count() -> int | None:
    """Return NNX_NUM_THREADS, or None if it is not set; raise ValueError for anything but a number above 0."""
    value = os.environ.get("NNX_NUM_THREADS", "").strip()
    if not value:
        return None
    if not value.isdigit() or int(value) < 1:
        raise ValueError(f"NNX_NUM_THREADS: got {value!r}, expected a whole number of at least 1")
    return int(value)


class SlicePool:
    """Runs a function over slices, some in the calling thread. The slices depend on sizes alone, never on threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._executor: ThreadPoolExecutor | None = None
        if hasattr(os, "register_at_fork"):  # threads do not survive a fork
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._executor = None

    def run(self, work: Callable[[int, int], object], size: int, slice_size: int) -> None:
        """Call work(low, high) for every slice of 0..size."""
        slices = [(low, min(low + slice_size, size)) for low in range(0, size, slice_size)]
        if self.threads == 1 or len(slices) == 1:
            for low, high in slices:
                work(low, high)
            return
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.threads - 1, "nnx")
        shares = [slices[i :: self.threads] for i in range(self.threads)]

        def several(share: list[tuple[int, int]]) -> None:
            for low, high in share:
                work(low, high)

        others = [self._executor.submit(several, share) for share in shares[1:]]
        several(shares[0])
        for other in others:
            other.result()
