"""Steps of several ranks on this machine, against the model of what their exchanges cost.

`python bench/scaling.py [--ranks 1,2,3,4] [--json FILE]`, from a checkout, by a Python with mpi4py and an mpiexec
beside it. For each number of ranks, by `nnx launch`: latency and bandwidth between them, and for each network the
milliseconds of a step, those of the same step where nothing is sent (`alone`), and those that the model of the
exchange adds. `model` is the sum of the last two; medians over rounds of the slowest rank.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import nnx
from nnx.bench.networks import NETWORKS, Network, batches, nnx_trainer
from nnx.bench.run import Run
from nnx.ops import HostArray
from nnx.parallel import Communicator, measure

NETS = [NETWORKS[name] for name in "SLM"] + [Network("X", (784, 4096, 4096, 10), 1024, "adam")]
SECONDS = 0.5
"""For how long a network's steps are measured at least."""


def slowest(ranks: Communicator, step: Callable[[], object], rounds: int = 5) -> float:
    """The median over rounds of a step's time on the rank that takes longest, in seconds."""
    for _ in range(3):
        step()
    began = time.perf_counter()
    step()
    once = max(ranks.exchange(time.perf_counter() - began))
    steps = max(1, int(SECONDS / rounds / once))
    times = []
    for _ in range(rounds):
        ranks.exchange(None)  # begin together
        began = time.perf_counter()
        for _ in range(steps):
            step()
        times.append(max(ranks.exchange((time.perf_counter() - began) / steps)))
    return statistics.median(times)


class Mute(nnx.parallel.Alone):
    """A communicator of as many ranks that sends nothing: each one's own numbers stand for the others'."""

    def __init__(self, ranks: Communicator) -> None:
        self.rank, self.size = ranks.rank, ranks.size

    def all_gather(self, send: HostArray, receive: HostArray, /) -> None:
        receive.reshape(self.size, -1)[self.rank] = send

    def exchange(self, value: object, /) -> list[object]:
        return [value] * self.size


def step_of(net: Network, ranks: Communicator) -> Callable[[], object]:
    """A step of a network."""
    x, t = batches(Network(net.name, net.sizes, min(net.batch, 256), net.optimizer), 1)[0]
    x, t = (np.concatenate([a] * -(-net.batch // len(a)))[: net.batch] for a in (x, t))
    made = nnx_trainer(net, "numba")
    trainer = nnx.Trainer(made.model, made.optimizer, parallel=ranks)
    return lambda: trainer.step(x, t)


def worker() -> None:
    """One rank: rank 0 prints what was measured."""
    ranks = nnx.world()
    found: dict[str, object] = {}
    between = measure(ranks) if ranks.size > 1 else None
    if between is not None:
        found["between"] = {"latency": between.latency, "bandwidth": between.bandwidth}
    for net in NETS:
        together, alone = slowest(ranks, step_of(net, ranks)), slowest(ranks, step_of(net, Mute(ranks)))
        parameters = sum((a + 1) * b for a, b in zip(net.sizes, net.sizes[1:], strict=False))
        exchange = 0.0 if between is None else between.exchange(ranks.size, 4 * parameters)
        found[net.name] = {
            "parameters": parameters,
            "step": together * 1e3,
            "alone": alone * 1e3,
            "exchange": exchange * 1e3,
            "model": (alone + exchange) * 1e3,
        }
    if ranks.rank == 0:
        print(json.dumps(found))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", default="1,2,3,4")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker()
        return 0
    run = Run("numba", "S", 1, arguments.json)
    results = {}
    for ranks in map(int, arguments.ranks.split(",")):
        command = [sys.executable, "-m", "nnx", "launch", "-n", str(ranks), __file__, "--worker"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ})
        results[f"{ranks} ranks"] = found = json.loads(done.stdout.splitlines()[-1])
        between = found.get("between")
        told = "" if between is None else f": {between['latency'] * 1e6:.0f} us, {between['bandwidth'] / 1e9:.2f} GB/s"
        print(f"\n{ranks} ranks{told}: milliseconds of a step")
        for net in NETS:
            one = found[net.name]
            print(
                f"  {net.name} {one['parameters']:11,} parameters  step {one['step']:8.2f}  "
                f"model {one['model']:8.2f} = alone {one['alone']:8.2f} + exchange {one['exchange']:8.2f}   "
                f"step/model {one['step'] / one['model']:5.2f}"
            )
        run.keep("milliseconds", results)
    run.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
