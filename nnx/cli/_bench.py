"""`nnx bench`: the speed of this machine, and of other libraries on it."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .. import __version__
from .._support.checks import check_count
from ..backend import environment, get_backend, list_backends
from ..errors import InputError
from ._app import app

_SETTINGS = ("OPENBLAS", "OMP_", "MKL_", "NNX_", "NUMBA_", "KMP_")
_PACKAGES = (
    "numpy",
    "numba",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "torch",
    "jax",
    "jaxlib",
    "optax",
    "scikit-learn",
    "thinc",
)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": False})
def bench(
    ctx: typer.Context,
    script: Annotated[
        Path | None, typer.Argument(help="A training script to time instead, with its arguments.")
    ] = None,
    backends: Annotated[str | None, typer.Option(help="Names, separated by commas; default: all that can run.")] = None,
    ops: Annotated[bool, typer.Option("--ops", help="Single operations only.")] = False,
    steps: Annotated[bool, typer.Option("--steps", help="Training steps only.")] = False,
    peers: Annotated[bool, typer.Option("--peers", help="Other installed libraries, too, on the same steps.")] = False,
    networks: Annotated[str, typer.Option(help="Of S, L, M, and M16 (M with products in bfloat16).")] = "S,L,M",
    rounds: Annotated[int, typer.Option(help="Processes of each candidate, taking turns.")] = 3,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file, anew after every result.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the training steps into this file.")] = None,
) -> None:
    """Measure this machine's rates, single operations against them, training steps, and where backends cross over."""
    from ..bench.clocks import gpu_clocks
    from ..bench.networks import NETWORKS
    from ..bench.report import Report

    usable = [status.name for status in list_backends() if status.usable]
    names = backends.split(",") if backends else usable
    for name in names:
        get_backend(name)
    nets = networks.split(",")
    if unknown := [net for net in nets if net not in NETWORKS]:
        raise InputError(f"--networks: got {unknown[0]!r}, expected some of {', '.join(NETWORKS)}.")
    check_count("--rounds", rounds)
    console = Console()
    report = Report(json_file)
    report |= {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "nnx": __version__,
        "python": sys.version.split()[0],
        "packages": {p: v for p in _PACKAGES if (v := _version(p))},
        "cores": os.cpu_count(),
        "environment": {k: v for k, v in os.environ.items() if k.startswith(_SETTINGS)},
        "backends": {name: environment.describe(get_backend(name)) for name in names},
    }
    try:
        report.write()  # a file that cannot be written is an error now, not after minutes of measuring
    except OSError as error:
        raise InputError(f"--json {json_file}: cannot be written ({error.strerror}); choose another file.") from error

    def keep(section: str, results: Any) -> None:
        report[section] = results
        report.write()

    if script is not None:
        keep("script", _script(console, script, ctx.args, names, rounds))
    else:
        both = ops == steps
        if both or ops:
            _ops(console, names, keep)
            if peers:
                keep("op_peers", _op_peers(console, names, rounds))
        if both or steps:
            table = _steps(console, names, nets, rounds, peers, keep)
            keep("crossover", _crossover(console, names, nets[0]))
            keep("overhead", _overhead(console, names))
            if png is not None:
                _draw(png, table)
    if clocks := gpu_clocks():  # while the GPU is still in the state in which it was measured
        report["clocks"] = clocks
    report.finish()
    if json_file is not None:
        console.print(f"written to {json_file}", highlight=False)


Keep = Callable[[str, Any], None]
"""Called with a section and its results so far; puts them into the report, and writes it."""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _ops(console: Console, names: list[str], keep: Keep) -> None:
    from ..bench.measure import product_rate, triad_rate
    from ..bench.ops import run_ops

    rates = {"product": product_rate(), "triad": triad_rate()}
    console.print(
        f"this machine: products {rates['product'] / 1e9:.0f} GFLOP/s (float32, 2048 x 2048 x 2048), "
        f"memory {rates['triad'] / 1e9:.1f} GB/s (c = a + b, all cores)",
        highlight=False,
    )
    keep("rates", rates)
    results = {}
    for name in names:
        table = Table("operation", "size", "ms", "rate", "of the machine's", title=f"operations on {name}")
        results[name] = run_ops(name, rates)
        for row in results[name]:
            rate = f"{row['rate']:.1f} {row['unit']}"
            table.add_row(row["op"], row["size"], f"{row['seconds'] * 1e3:.3f}", rate, f"{row['share_of_ceiling']:.0%}")
        console.print(table)
        keep("ops", results)


def _op_peers(console: Console, names: list[str], rounds: int) -> dict[str, Any]:
    import importlib.util
    import statistics

    from rich.progress import track

    from ..bench.op_peers import PEERS
    from ..bench.steps import in_turns

    candidates = [*names, *(name for name, module in PEERS.items() if importlib.util.find_spec(module))]
    times: dict[str, dict[str, list[float]]] = {}
    turns = in_turns("nnx.bench.op_peers", candidates, [], rounds)
    for name, result in track(turns, "operations", total=len(candidates) * rounds, transient=True, console=console):
        if "error" in result:
            console.print(f"{name}: failed: {result['error']}", markup=False, highlight=False)
            continue
        for work, seconds in result.items():
            times.setdefault(work, {}).setdefault(name, []).append(seconds)
    medians = {work: {name: statistics.median(v) for name, v in row.items()} for work, row in times.items()}
    table = Table("operation", *candidates, title="milliseconds, medians over the processes")
    for work, row in medians.items():
        table.add_row(work, *(f"{row[name] * 1e3:.3f}" if name in row else "" for name in candidates))
    console.print(table)
    return medians


def _overhead(console: Console, names: list[str]) -> dict[str, Any]:
    from ..bench.overhead import run_overhead

    result = {name: run_overhead(name) for name in names}
    for name, row in result.items():
        console.print(
            f"{name}: a step of S takes {row['step'] * 1e6:.1f} µs more than its operations, "
            f"a step of fit on 60,000 rows of bytes {row['fit'] * 1e6:.1f} µs more than a step",
            highlight=False,
        )
    return result


def _steps(
    console: Console, names: list[str], nets: list[str], rounds: int, with_peers: bool, keep: Keep
) -> dict[str, Any]:
    from rich.progress import track

    from ..bench.networks import NETWORKS
    from ..bench.peers import installed_peers
    from ..bench.steps import in_turns, summary

    candidates = [*names, *(installed_peers(names) if with_peers else ["hand-written NumPy"])]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in candidates}
    failed: dict[str, str] = {}
    turns = in_turns("nnx.bench.steps", candidates, [",".join(nets)], rounds)
    for name, result in track(turns, "training steps", total=len(candidates) * rounds, transient=True, console=console):
        if "error" in result and name not in failed:
            failed[name] = result["error"]
            keep("failed", failed)
            console.print(f"{name}: failed: {failed[name]}", markup=False, highlight=False)
        runs[name].append(result)
        keep("steps", summary(runs, nets))
    table = summary(runs, nets)
    for net in nets:
        about = NETWORKS[net]
        shown = Table(
            "candidate", "µs/step", "range", "speed-up over the slowest", "first step, s",
            title=f"{net}: {'-'.join(map(str, about.sizes))}, batch {about.batch}, {about.optimizer}",
        )  # fmt: skip
        slowest = max((row["warm"] for row in table[net].values()), default=0)
        for name, row in sorted(table[net].items(), key=lambda item: item[1]["warm"]):
            span = f"{row['warm_min'] * 1e6:.0f}..{row['warm_max'] * 1e6:.0f}"
            speed = f"{slowest / row['warm']:.2f}"
            shown.add_row(name, f"{row['warm'] * 1e6:.1f}", span, speed, f"{row['first']:.2f}")
        console.print(shown)
    return table


def _crossover(console: Console, names: list[str], network: str) -> dict[str, Any]:
    from ..bench.crossover import SIZES, run_crossover

    result = run_crossover(names, network)
    table = Table("backend", *(f"batch {size}" for size in SIZES), title=f"rows per second, network {network}")
    for name, rates in result["rows_per_second"].items():
        table.add_row(name, *(f"{rate:,.0f}" for rate in rates.values()))
    console.print(table)
    for sentence in result["sentences"]:
        console.print(sentence, highlight=False)
    return result


def _script(console: Console, script: Path, arguments: list[str], names: list[str], rounds: int) -> dict[str, Any]:
    from ..bench.script import run_script

    results = run_script(script, arguments, names, rounds)
    table = Table("backend", "median s", "range", "first run, s", title=f"{script.name}, whole process")
    for name, row in results.items():
        table.add_row(name, f"{row['median']:.2f}", f"{row['min']:.2f}..{row['max']:.2f}", f"{row['first']:.2f}")
    console.print(table)
    return results


def _draw(path: Path, steps: dict[str, Any]) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"left out: {path} (matplotlib is not installed; pip install 'nnx-array[plot]')")
        return
    figure = Figure(figsize=(4.2 * len(steps), 3.4), layout="constrained")
    for axes, (net, rows) in zip(figure.subplots(1, len(steps), squeeze=False)[0], steps.items(), strict=True):
        ordered = sorted(rows.items(), key=lambda item: -item[1]["warm"])
        times = [row["warm"] * 1e6 for _, row in ordered]
        own = [name in {s.name for s in list_backends()} for name, _ in ordered]
        bars = axes.barh([name for name, _ in ordered], times, color=["#1f6fb4" if o else "0.7" for o in own])
        axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
        axes.set_xlim(right=max(times) * 1.15)  # room for the label of the longest bar
        axes.set_title(f"network {net}")
        axes.set_xlabel("µs per training step (shorter is better)", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
