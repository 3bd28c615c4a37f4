"""Training steps of S, L and M through `Trainer.step`, against the step written by hand in NumPy, in one run.

    python bench/training_step.py [--backends numpy] [--rounds 21] [--out FILE.json]

The candidates take turns; a round gives each the same number of steps on the same batches, so that a machine whose
speed drifts slows all alike. Reported are the medians over the rounds, and the median of the rounds' ratios.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from networks import NETWORKS, Network, batches, handwritten_step, nnx_step
from rich.console import Console
from rich.table import Table

import nnx
from nnx.environment import describe

ROUND_SECONDS = 0.15


def compare(net: Network, steps: dict[str, Callable[[Any, Any], Any]], rounds: int) -> dict[str, Any]:
    """Microseconds per step by candidate, and its ratio to the first."""
    data = batches(net)

    def run(step: Callable[[Any, Any], Any], count: int) -> float:
        start = time.perf_counter()
        for i in range(count):
            step(*data[i % len(data)])
        return (time.perf_counter() - start) / count * 1e6

    for step in steps.values():
        run(step, 20)
    count = max(3, round(ROUND_SECONDS * 1e6 / max(run(step, 10) for step in steps.values())))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(run(step, count))
    base = next(iter(times))
    return {
        name: {
            "median_us": statistics.median(values),
            "min_us": min(values),
            "max_us": max(values),
            f"ratio_to_{base}": statistics.median(a / b for a, b in zip(values, times[base], strict=True)),
        }
        for name, values in times.items()
    } | {"rounds": rounds, "steps_per_round": count}


def main(
    backends: Annotated[str, typer.Option(help="Names, separated by commas.")] = "numpy",
    networks: Annotated[str, typer.Option(help="Names, separated by commas.")] = "S,L,M",
    rounds: Annotated[int, typer.Option(help="Turns of every candidate.")] = 21,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
) -> None:
    """Compare and print."""
    names = backends.split(",")
    results = {}
    table = Table("network", "candidate", "median µs/step", "min", "max", "ratio to hand-written")
    for name in networks.split(","):
        net = NETWORKS[name]
        candidates = {"handwritten": handwritten_step(net)} | {b: nnx_step(net, b) for b in names}
        results[name] = compare(net, candidates, rounds)
        for candidate in candidates:
            row = results[name][candidate]
            table.add_row(
                name,
                candidate,
                *(f"{row[key]:.1f}" for key in ("median_us", "min_us", "max_us")),
                f"{row['ratio_to_handwritten']:.3f}",
            )
    Console(width=110).print(table)
    settings = {k: v for k, v in os.environ.items() if k.startswith(("OPENBLAS", "OMP", "MKL", "NNX", "NUMBA"))}
    report = {
        "benchmark": "training_step",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "nnx": nnx.__version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "cores": os.cpu_count(),
        "environment": settings,
        "backends": {b: describe(nnx.get_backend(b)) for b in names},
        "networks": {
            n.name: f"{'-'.join(map(str, n.sizes))}, batch {n.batch}, {n.optimizer}" for n in NETWORKS.values()
        },
        "results": results,
    }
    if out is not None:
        out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
