"""Convolutional networks and single convolutions, in nnx and in the frameworks: `python bench/convolution.py`.

Training steps of two networks (batches of 100 pictures, Adam), ten convolutions forward and backward, and the memory
that a batch takes in either. Every candidate runs in processes of its own, which take turns, on two processors. PyTorch
and JAX run with the channels first and last, and the faster one counts; a framework that is not installed is left out.
Nothing is compared unless the losses of the first steps, or the norms of results and gradients, agree.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

from peers.convolution import BATCH, CANDIDATES, IM2COL, WORKS, installed, worker
from rich.progress import track
from rich.table import Table

from nnx import NnxError
from nnx.bench.run import Run
from nnx.bench.steps import in_turns

RESULTS = Path(__file__).parent / "results" / "convolution.json"
NNX = ("numba", "numpy")
TITLES = {"nets": "a training step", "layers": "a convolution, forward and backward"}
FEW = 10
"""Rows of the smaller one of two batches, whose difference is the memory that rows take."""
ROUNDING = 2e-3


def family(name):
    """Return a candidate's name without its layout."""
    return name.split(",")[0]


def check_agreement(known, name, work, figures):
    """Raise where a candidate does not compute what the first one did."""
    first, expected = known.setdefault(work, (name, figures))
    pairs = zip(figures, expected, strict=True)
    if not all(abs(got - other) <= ROUNDING * abs(other) for got, other in pairs):
        sys.exit(f"convolution.py: {work}: {name} has {figures}, {first} {expected}; they do not compute the same.")


def turns(run, title, names, arguments, rounds):
    """Yield each candidate with its results, in turns; say what failed."""
    results = in_turns([__file__, "--worker"], names, arguments, rounds)
    for name, result in track(results, title, total=rounds * len(names), transient=True, console=run.console):
        if "error" in result:
            run.console.print(f"{name}: failed: {result.pop('error')}", markup=False, highlight=False)
        yield name, result


def measure_times(run, kind, names, arguments):
    """Return the medians over the processes, by work and candidate, in seconds."""
    times, known = {}, {}
    for name, result in turns(run, kind, names, ["--kind", kind, *arguments], run.rounds):
        for work, row in result.items():
            check_agreement(known, name, work, row["agree"])
            times.setdefault(work, {}).setdefault(name, []).append(row["seconds"])
    return {work: {name: statistics.median(s) for name, s in row.items()} for work, row in times.items()}


def measure_memory(run, kind, names, arguments):
    """Return the bytes that a batch takes, by work and candidate: of one round, for they hardly differ.

    What does not grow with the batch (the library, compiled code, parameters) is in both peaks.
    """
    peaks = {BATCH: {}, FEW: {}}
    for rows, of_works in peaks.items():
        given = ["--kind", kind, "--memory", str(rows), *arguments]
        for name, result in turns(run, f"memory of {kind}", names, given, 1):
            for work, peak in result.items():
                of_works.setdefault(work, {})[name] = peak
    share = BATCH / (BATCH - FEW)
    return {
        work: {name: (peak - peaks[FEW][work][name]) * share for name, peak in row.items() if name in peaks[FEW][work]}
        for work, row in peaks[BATCH].items()
    }


def fastest(row):
    """Return the least number of each family."""
    best = {}
    for name, value in row.items():
        best[family(name)] = min(value, best.get(family(name), value))
    return best


def leads(times):
    """Return by how much numba is ahead of the fastest framework, by work."""
    found = {}
    for work, row in times.items():
        others = [seconds for name, seconds in row.items() if name not in (*NNX, IM2COL)]
        if others and "numba" in row:
            found[work] = min(others) / row["numba"]
    return found


def show_times(run, kind, times):
    found = leads(times)
    names = list(dict.fromkeys(family(name) for row in times.values() for name in row))
    book = IM2COL in names and "numba" in names
    ahead = ["fastest framework / numba", *(["im2col / numba"] if book else [])]
    table = Table(kind[:-1], *names, *ahead, title=f"milliseconds of {TITLES[kind]}, batch {BATCH}")
    for work, row in times.items():
        best = fastest(row)
        cells = [f"{best[name] * 1e3:.2f}" if name in best else "" for name in names]
        cells += [f"{found[work]:.2f}" if work in found else ""]
        cells += [f"{best[IM2COL] / best['numba']:.1f}" if IM2COL in best and "numba" in best else ""] if book else []
        table.add_row(work, *cells)
    run.console.print(table)
    if found:
        mean, least = statistics.geometric_mean(found.values()), min(found.values())
        run.console.print(
            f"fastest framework / numba: geometric mean {mean:.2f}, least {least:.2f}", highlight=False, markup=False
        )
    run.keep(kind, {work: {"seconds": row, "lead": found.get(work)} for work, row in times.items()})


def show_memory(run, kind, taken):
    names = list(dict.fromkeys(name for row in taken.values() for name in row))
    table = Table(kind[:-1], *names, "an im2col matrix", title=f"MB that a batch of {BATCH} takes in {TITLES[kind]}")
    matrices = {str(work): work.largest_im2col() for work in WORKS[kind]}
    for work, row in taken.items():
        cells = [f"{row[name] / 1e6:.1f}" if name in row else "" for name in names]
        table.add_row(work, *cells, f"{matrices[work] / 1e6:.1f}")
    run.console.print(table)
    run.keep(f"memory of {kind}", {work: {"bytes": row, "im2col": matrices[work]} for work, row in taken.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="processes of each candidate, which take turns")
    parser.add_argument("--candidates", help="names, separated by semicolons; default: all that are installed")
    parser.add_argument("--book", action="store_true", help=f"measure a textbook's way, too: {IM2COL}")
    parser.add_argument("--parts", default="nets,layers,memory", help="what is measured; default: %(default)s")
    parser.add_argument(
        "--quick", action="store_true", help="little of everything, to see that it works; no file but --json's"
    )
    parser.add_argument("--processors", type=int, default=2, help="how many may be used; default: %(default)s")
    parser.add_argument("--json", type=Path, help=f"write everything to this file; default: {RESULTS.name} in results")
    of_worker = parser.add_argument_group("one candidate by hand, which prints a line of JSON after each work")
    of_worker.add_argument("--worker", metavar="NAME", choices=list(CANDIDATES), help="; ".join(CANDIDATES))
    of_worker.add_argument("--kind", choices=list(WORKS), default="nets")
    of_worker.add_argument("--seconds", type=float, default=1.0, help="how long a work is measured")
    of_worker.add_argument("--memory", type=int, metavar="ROWS", help="measure memory, with batches of so many rows")
    of_worker.add_argument("--count", type=int, help="only so many works")
    asked = parser.parse_args()
    if asked.worker:
        for so_far in worker(asked.worker, asked.kind, asked.seconds, asked.memory, asked.count):
            print(json.dumps(so_far), flush=True)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.processors])  # the candidates inherit it
    names = asked.candidates.split(";") if asked.candidates else [n for n in CANDIDATES if asked.book or n != IM2COL]
    parts = asked.parts.split(",")
    if unknown := [n for n in names if n not in CANDIDATES] + [p for p in parts if p not in (*WORKS, "memory")]:
        sys.exit(f"convolution.py: got {unknown[0]!r}, expected some of {'; '.join([*CANDIDATES, *WORKS, 'memory'])}.")
    seconds, count = (0.1, ["--count", "1"]) if asked.quick else (1.0, [])
    try:
        run = Run(",".join(NNX), "S", asked.rounds, asked.json or (None if asked.quick else RESULTS))
        run.console.width = max(run.console.width, 160)  # no table is cut off in a file
        run.keep("settings", {"processors": asked.processors, "batch": BATCH, "seconds": seconds, "dtype": "float32"})
        kinds = {kind: [n for n in names if n in installed(kind)] for kind in WORKS}
        for kind in (k for k in kinds if k in parts):
            show_times(run, kind, measure_times(run, kind, kinds[kind], ["--seconds", str(seconds), *count]))
        if "memory" in parts and sys.platform == "linux":
            for kind, able in kinds.items():
                show_memory(run, kind, measure_memory(run, kind, able, count))
        run.finish()
    except NnxError as error:
        sys.exit(f"convolution.py: {error}")


if __name__ == "__main__":
    main()
