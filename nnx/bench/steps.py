"""Training steps of S, L and M: every candidate in a process of its own, the processes taking turns.

In one process the candidates' thread pools would compete with each other. A worker times all networks of one candidate:
the first step, with building and compiling, and the median of the warm ones. To measure one backend by hand, `python -m
nnx.bench.steps BACKEND NETWORKS` prints a line of JSON after each network.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from .measure import nothing_to_wait_for, per_call
from .networks import NETWORKS, Batch, Network, batches, nnx_trainer

_WARM_UP_SECONDS, _SECONDS = 0.3, 1.0


class Candidate(NamedTuple):
    """One update per call, on the library's own arrays."""

    run: Callable[[int], Any]
    """run(i) makes an update on batch i. It may return before a device has done it."""
    wait: Callable[[], Any] = nothing_to_wait_for
    """Returns when the device has done all updates."""


Maker = Callable[[Network, Sequence[Batch]], Candidate]


def in_turn(step: Callable[[Any, Any], Any], data: Sequence[tuple[Any, Any]]) -> Callable[[int], Any]:
    """Return a function of i that makes the step on batch i, where the batches come again and again."""
    return lambda i: step(*data[i % len(data)])


def nnx_candidate(backend: str, net: Network, data: Sequence[Batch]) -> Candidate:
    """Return the public `Trainer.step` on a backend, with batches in its arrays."""
    trainer = nnx_trainer(net, backend)
    to_device, synchronize = trainer.model.backend.to_device, trainer.model.backend.synchronize
    return Candidate(in_turn(trainer.step, [(to_device(x), to_device(t)) for x, t in data]), synchronize)


def worker(make: Maker, networks: Sequence[str]) -> Iterator[dict[str, dict[str, float]]]:
    """Measure the seconds of the first and of a warm step, by network; after each network, yield all results so far."""
    times: dict[str, dict[str, float]] = {}
    for net in (NETWORKS[n] for n in networks):
        times[net.name] = _times(make, net)
        yield times


def _times(make: Maker, net: Network) -> dict[str, float]:
    data = batches(net)
    start = time.perf_counter()
    run, wait = make(net, data)
    run(0)
    wait()
    first = time.perf_counter() - start
    until = time.perf_counter() + _WARM_UP_SECONDS
    i = 1
    while time.perf_counter() < until:
        run(i)
        wait()
        i += 1
    # Few enough steps that no network has memorised the digits: those that have compute with denormals.
    return {"first": first, "warm": per_call(run, wait, seconds=_SECONDS, rounds=11)}


def in_turns(
    worker: Sequence[str], names: Sequence[str], arguments: Sequence[str], rounds: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run the worker processes round by round; yield each candidate with its times.

    A worker is `python *worker candidate *arguments`. The last line of JSON that it prints counts, even if it fails
    afterwards; then there is an "error", too.
    """
    for turn in range(rounds):
        for name in names if turn % 2 == 0 else reversed(names):
            command = [sys.executable, *worker, name, *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            result = json.loads(([line for line in done.stdout.splitlines() if line.startswith("{")] or ["{}"])[-1])
            if done.returncode != 0:
                result["error"] = (done.stderr.strip().splitlines() or ["no message"])[-1]
            yield name, result


def summary(runs: dict[str, list[dict[str, Any]]], networks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return medians over the processes, by network and candidate, in seconds."""
    table: dict[str, dict[str, Any]] = {}
    for net in networks:
        table[net] = {}
        for name, results in runs.items():
            good = [r[net] for r in results if net in r]
            if good:
                warm = [r["warm"] for r in good]
                table[net][name] = {
                    "warm": statistics.median(warm),
                    "warm_min": min(warm),
                    "warm_max": max(warm),
                    "first": statistics.median(r["first"] for r in good),
                    "processes": len(good),
                }
    return table


if __name__ == "__main__":
    for so_far in worker(partial(nnx_candidate, sys.argv[1]), sys.argv[2].split(",")):
        print(json.dumps(so_far), flush=True)  # if it is stopped, the networks that are done are kept
