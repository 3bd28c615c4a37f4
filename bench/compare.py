"""nnx's backends against the other libraries that are installed: `python bench/compare.py`.

It measures all that `nnx bench` does, and in the same run a person's own NumPy, PyTorch, JAX, scikit-learn and Thinc on
the same training steps and operations. Each candidate runs in processes of its own, which take turns.
"""

import argparse
import importlib.util
import statistics
import sys
from pathlib import Path

from peers.ops import PEERS
from peers.steps import installed_peers
from rich.progress import track
from rich.table import Table

from nnx import NnxError
from nnx.bench.run import Run, draw_steps
from nnx.bench.steps import in_turns

WORKERS = Path(__file__).parent / "peers"


def compare_ops(run):
    candidates = [*run.backends, *(name for name, module in PEERS.items() if importlib.util.find_spec(module))]
    times = {}
    turns = in_turns([str(WORKERS / "ops.py")], candidates, [], run.rounds)
    total = len(candidates) * run.rounds
    for name, result in track(turns, "operations", total=total, transient=True, console=run.console):
        if "error" in result:
            run.console.print(f"{name}: failed: {result['error']}", markup=False, highlight=False)
            continue
        for work, seconds in result.items():
            times.setdefault(work, {}).setdefault(name, []).append(seconds)
    medians = {work: {name: statistics.median(v) for name, v in row.items()} for work, row in times.items()}
    table = Table("operation", *candidates, title="milliseconds, medians over the processes")
    for work, row in medians.items():
        table.add_row(work, *(f"{row[name] * 1e3:.3f}" if name in row else "" for name in candidates))
    run.console.print(table)
    run.keep("op_peers", medians)


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", help="names, separated by commas; default: all that can run")
    parser.add_argument("--ops", action="store_true", help="single operations only")
    parser.add_argument("--steps", action="store_true", help="training steps only")
    parser.add_argument("--networks", default="S,L,M", help="of S, L, M, and M16 (M with products in bfloat16)")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each candidate, taking turns")
    parser.add_argument("--json", type=Path, help="write everything to this file, anew after every result")
    parser.add_argument("--png", type=Path, help="draw the training steps into this file")
    asked = parser.parse_args(arguments)
    both = asked.ops == asked.steps
    try:
        run = Run(asked.backends, asked.networks, asked.rounds, asked.json)
        if both or asked.ops:
            run.ops()
            compare_ops(run)
        if both or asked.steps:
            table = run.steps([*run.backends, *installed_peers(run.backends)], [str(WORKERS / "steps.py")])
            run.crossover()
            run.overhead()
            if asked.png is not None:
                draw_steps(asked.png, table)
        run.finish()
    except NnxError as error:
        sys.exit(f"compare.py: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
