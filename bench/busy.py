"""Training steps where other processes are busy: our own products against BLAS'.

`python bench/busy.py [--rounds 3] [--json FILE]`, from a checkout: the Numba backend's `Trainer.step` on networks of
many sizes, with no busy process beside it, with one, and with two for each core; once with its own products and once
with BLAS for all of them, in processes that take turns. Microseconds of a warm step, medians over the processes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from nnx_numba import _backend

import nnx
from nnx.bench.measure import per_call
from nnx.bench.run import Run

NETWORKS = {
    "S: 784-50-10, batch 100, SGD": ((784, 50, 10), 100, nnx.SGD, "relu"),
    "L: 784-100x6-10, batch 100, Adam": ((784, *[100] * 6, 10), 100, nnx.Adam, "relu"),
    "M: 784-1024-1024-10, batch 256, Adam": ((784, 1024, 1024, 10), 256, nnx.Adam, "relu"),
    "64-30-10, batch 100, Adam": ((64, 30, 10), 100, nnx.Adam, "relu"),
    "54-256-256-7, batch 512, tanh": ((54, 256, 256, 7), 512, nnx.Adam, "tanh"),
    "300-200-100-7, batch 64, Adam": ((300, 200, 100, 7), 64, nnx.Adam, "relu"),
    "1500-300-10, batch 64, GELU": ((1500, 300, 10), 64, nnx.Momentum, "gelu"),
    "784-256-10, batch 1024, Adam": ((784, 256, 10), 1024, nnx.Adam, "relu"),
}


def worker(products: str) -> None:
    """Print the microseconds of a step of each network."""
    if products == "BLAS":
        _backend.LARGEST_OWN = -1
    times = {}
    for name, (sizes, rows, optimizer, activation) in NETWORKS.items():
        r = np.random.default_rng(0)
        batches = [(r.standard_normal((rows, sizes[0]), np.float32), r.integers(0, sizes[-1], rows)) for _ in range(8)]
        model = nnx.MLP(sizes[1:-1], sizes[-1], activation=activation)
        trainer = nnx.Trainer(model, optimizer(), backend="numba")
        until, i = time.perf_counter() + 0.3, 0
        while time.perf_counter() < until:
            trainer.step(*batches[i % 8])
            i += 1
        step = per_call(lambda i, b=batches, t=trainer: t.step(*b[i % 8]), lambda: None, seconds=0.05, rounds=11)
        times[name] = step * 1e6
    print(json.dumps(times))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", choices=("own", "BLAS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker)
        return 0
    run = Run("numba", "S", arguments.rounds, arguments.json)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for busy in (0, 1, 2 * (os.cpu_count() or 1)):
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            times: dict[str, dict[str, list[float]]] = {}
            for turn in range(arguments.rounds):
                for products in ("own", "BLAS") if turn % 2 == 0 else ("BLAS", "own"):
                    command = [sys.executable, __file__, "--worker", products]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    for name, value in json.loads(done.stdout).items():
                        times.setdefault(name, {}).setdefault(products, []).append(value)
        finally:
            for other in others:
                other.kill()
        print(f"\n{busy} busy processes: microseconds of a step")
        medians = {name: {p: statistics.median(v) for p, v in each.items()} for name, each in times.items()}
        for name, each in medians.items():
            print(f"  {name:40} own {each['own']:9.0f}   BLAS {each['BLAS']:9.0f}   {each['BLAS'] / each['own']:6.2f}")
        results[f"{busy} busy processes"] = medians
        run.keep("microseconds", results)
    run.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
