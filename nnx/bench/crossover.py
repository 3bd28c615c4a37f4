"""The batch size at which one backend overtakes another."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .measure import per_call
from .networks import NETWORKS, batches
from .steps import nnx_candidate

SIZES = (1, 4, 16, 64, 256, 1024)


def rows_per_second(backend: str, network: str) -> dict[int, float]:
    """Measure how many rows a backend trains per second, by batch size."""
    net = NETWORKS[network]
    x, t = (np.concatenate(part) for part in zip(*batches(replace(net, batch=256), 4), strict=True))
    rates = {}
    for size in SIZES:
        run, wait = nnx_candidate(backend, net, [(x[:size], t[:size])])
        rates[size] = size / per_call(run, wait, seconds=0.2)
    return rates


def crossovers(rates: dict[str, dict[int, float]]) -> list[str]:
    """Return a sentence for each pair of backends."""
    names: Sequence[str] = list(rates)
    sentences = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            ahead = [b if rates[b][size] > rates[a][size] else a for size in SIZES]
            changes = [SIZES[k] for k in range(1, len(SIZES)) if ahead[k] != ahead[k - 1]]
            if not changes:
                sentences.append(f"{ahead[0]} is ahead of {a if ahead[0] == b else b} at every batch size")
            else:
                sentences.append(f"{ahead[-1]} overtakes {a if ahead[-1] == b else b} at a batch of {changes[-1]}")
    return sentences


def run_crossover(backends: Sequence[str], network: str) -> dict[str, Any]:
    """Measure rows per second by backend and batch size; return them with the conclusions in sentences."""
    rates = {name: rows_per_second(name, network) for name in backends}
    return {"network": network, "rows_per_second": rates, "sentences": crossovers(rates)}
