"""What it costs ranks to exchange a gradient: measured, and by a model for any number of them."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._communicator import Communicator

_SIZES = (1 << 10, 1 << 13, 1 << 16, 1 << 19, 1 << 22)
"""Elements of the float32 buffers that are exchanged to measure."""


@dataclass(frozen=True)
class Interconnect:
    """What lies between ranks, in the alpha-beta model: a message of n bytes takes latency + n / bandwidth."""

    latency: float
    """Seconds for each message."""
    bandwidth: float
    """Bytes a second that a rank can send while it receives as many."""

    def exchange(self, ranks: int, size: int) -> float:
        """Return the seconds that the exchange of a training step takes.

        A flat gradient goes all-to-all and the parameters all-gather: in each a rank sends p - 1 messages, with 1 / p
        of the buffer in each (Thakur, Rabenseifner & Gropp 2005).

        Args:
            ranks: p.
            size: bytes of the buffer.
        """
        return 2 * (ranks - 1) * (self.latency + size / ranks / self.bandwidth)

    def pays_from(self, ranks: int, size: int) -> float:
        """Return how many seconds a step of one process must take at least, so that p ranks are faster.

        They are where t > t / p + exchange, at best: where a p-th of the rows takes a p-th of the time.
        """
        return self.exchange(ranks, size) * ranks / (ranks - 1)


def exchange_seconds(communicator: Communicator, elements: int, rounds: int = 15) -> float:
    """Measure the exchange of a buffer of float32; all ranks call this together.

    Args:
        communicator: of the ranks.
        elements: of the buffer, a multiple of the number of ranks.
        rounds: how often it is done.

    Returns:
        The median of the times of the slowest rank in each round, in seconds.
    """
    send, receive = np.ones(elements, np.float32), np.empty(elements, np.float32)
    own = np.ones(elements // communicator.size, np.float32)

    def exchange() -> None:
        communicator.all_to_all(send, receive)
        communicator.all_gather(own, receive)

    return statistics.median(_together(communicator, exchange, rounds))


def measure(communicator: Communicator) -> Interconnect:
    """Measure what lies between the ranks; all call this together, and at least two.

    Latency and bandwidth are those of least squares of the relative errors, over buffers of 4 KiB to 16 MiB.
    """
    p = communicator.size
    elements = [-(-size // p) * p for size in _SIZES]
    times = np.array([exchange_seconds(communicator, n) for n in elements])
    sizes = 4.0 * np.array(elements)
    terms = 2 * (p - 1) * np.stack([np.ones_like(sizes), sizes / p], axis=1)
    (latency, per_byte), *_ = np.linalg.lstsq(terms / times[:, None], np.ones_like(times))
    # A noisy measurement can put a cost below zero; the least that was seen bounds it.
    latency = max(latency, 0.0)
    return Interconnect(float(latency), float(1 / max(per_byte, 1e-15)))


def _together(communicator: Communicator, work: Callable[[], None], rounds: int) -> list[float]:
    times = []
    for _ in range(rounds + 2):
        communicator.exchange(None)  # begin together
        began = time.perf_counter()
        work()
        times.append(max(communicator.exchange(time.perf_counter() - began)))
    return times[2:]
