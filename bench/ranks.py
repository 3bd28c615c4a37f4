"""Time per step of the networks S, L and M on several ranks.

    python bench/ranks.py                      # one process: without ranks, as its only rank, and in shards
    mpiexec -n 2 python bench/ranks.py         # each rank with its share of the cores

Rank 0 adds its figures to bench/results/ranks.json, by the number of ranks. A figure is the median of medians, each of
some hundred steps, the ways taking turns.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import nnx
from nnx.backend import environment, get_backend
from nnx.bench.networks import NETWORKS, batches, nnx_trainer
from nnx.parallel import Communicator

RESULTS = Path(__file__).parent / "results" / "ranks.json"
TURNS, STEPS = 9, 120


def trainer_of(name: str, backend: str, communicator: Communicator | None, shards: int | None) -> nnx.Trainer:
    net = NETWORKS[name]
    model = nnx_trainer(net, backend).model.unbuilt()
    optimizer = nnx.Adam(0.001) if net.optimizer == "adam" else nnx.SGD(0.01)
    return nnx.Trainer(model, optimizer, backend=backend, parallel=communicator, shards=shards)


def seconds(trainer: nnx.Trainer, data: list, steps: int) -> float:
    """Return the median of the steps' times."""
    times = []
    for i in range(steps):
        start = time.perf_counter()
        trainer.step(*data[i % len(data)])
        times.append(time.perf_counter() - start)
    return median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numba")
    parser.add_argument("--networks", default="S,L,M")
    parser.add_argument("--write", action="store_true", help="into bench/results/ranks.json")
    asked = parser.parse_args()
    world = nnx.world()
    ways = {"as its only rank": (world, None), "in 8 shards": (world, 8)} if world.size == 1 else {}
    first = ("one process", (None, None)) if world.size == 1 else (f"{world.size} ranks", (world, None))
    ways = dict([first]) | ways
    found = {}
    for name in asked.networks.split(","):
        data = batches(NETWORKS[name])
        trainers = {way: trainer_of(name, asked.backend, *settings) for way, settings in ways.items()}
        for trainer in trainers.values():
            seconds(trainer, data, 30)
        turns = {way: [] for way in ways}
        for _ in range(TURNS):
            for way, trainer in trainers.items():
                turns[way].append(seconds(trainer, data, STEPS if name != "M" else STEPS // 4))
        found[name] = {way: median(times) for way, times in turns.items()}
        if world.rank == 0:
            print(name, {way: f"{time * 1e6:.0f} us" for way, time in found[name].items()}, flush=True)
    if world.rank == 0 and asked.write:
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        results[str(world.size)] = {
            "environment": environment.describe(get_backend(asked.backend)),
            "ranks": repr(world),
            "seconds": found,
        }
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
