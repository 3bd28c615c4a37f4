"""A benchmark as a person sees it: what is measured, shown as tables, and kept in a report."""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from .. import __version__
from .._support.checks import check_count
from ..backend import environment, get_backend, list_backends
from ..errors import InputError
from . import crossover, overhead, steps
from .clocks import gpu_clocks
from .measure import product_rate, triad_rate
from .networks import NETWORKS
from .ops import run_ops
from .report import Report
from .script import run_script

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


class Run:
    """One benchmark. Each method but `keep` measures something, prints it, and keeps it in the report.

    Args:
        backends: Names, separated by commas; default: all that can run.
        networks: Some of `NETWORKS`, separated by commas.
        rounds: Processes of each candidate.
        json_file: The report's file, written anew after every result; None for none.

    Raises:
        InputError: If a network is unknown, the rounds are less than 1, or the file cannot be written.
        BackendError: If a backend is unknown or cannot run.
    """

    def __init__(self, backends: str | None, networks: str, rounds: int, json_file: Path | None) -> None:
        usable = [status.name for status in list_backends() if status.usable]
        self.backends = backends.split(",") if backends else usable
        for name in self.backends:
            get_backend(name)
        self.networks, self.rounds = networks.split(","), rounds
        if unknown := [net for net in self.networks if net not in NETWORKS]:
            raise InputError(f"--networks: got {unknown[0]!r}, expected some of {', '.join(NETWORKS)}.")
        check_count("--rounds", rounds)
        self.console = Console()
        self._path, self._report = json_file, Report(json_file)
        self._report |= {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "nnx": __version__,
            "python": sys.version.split()[0],
            "packages": {p: v for p in _PACKAGES if (v := _version(p))},
            "cores": os.cpu_count(),
            "environment": {k: v for k, v in os.environ.items() if k.startswith(_SETTINGS)},
            "backends": {name: environment.describe(get_backend(name)) for name in self.backends},
        }
        try:
            self._report.write()  # a file that cannot be written is an error now, not after minutes of measuring
        except OSError as error:
            raise InputError(
                f"--json {json_file}: cannot be written ({error.strerror}); choose another file."
            ) from error

    def keep(self, section: str, results: Any) -> None:
        """Put a section and its results so far into the report, and write it."""
        self._report[section] = results
        self._report.write()

    def finish(self) -> None:
        """Mark the report as complete, with the clocks of the GPUs while they are still as they were measured."""
        if clocks := gpu_clocks():
            self._report["clocks"] = clocks
        self._report.finish()
        if self._path is not None:
            self.console.print(f"written to {self._path}", highlight=False)

    def ops(self) -> None:
        """Measure the machine's rates, and single operations on each backend against them."""
        rates = {"product": product_rate(), "triad": triad_rate()}
        self.console.print(
            f"this machine: products {rates['product'] / 1e9:.0f} GFLOP/s (float32, 2048 x 2048 x 2048), "
            f"memory {rates['triad'] / 1e9:.1f} GB/s (c = a + b, all cores)",
            highlight=False,
        )
        self.keep("rates", rates)
        results = {}
        for name in self.backends:
            table = Table("operation", "size", "ms", "rate", "of the machine's", title=f"operations on {name}")
            results[name] = run_ops(name, rates)
            for row in results[name]:
                rate = f"{row['rate']:.1f} {row['unit']}"
                table.add_row(
                    row["op"], row["size"], f"{row['seconds'] * 1e3:.3f}", rate, f"{row['share_of_ceiling']:.0%}"
                )
            self.console.print(table)
            self.keep("ops", results)

    def steps(self, candidates: Sequence[str], worker: Sequence[str]) -> dict[str, Any]:
        """Measure training steps; return their `summary`.

        Args:
            candidates: Names that the worker knows.
            worker: `python`'s arguments before the name of a candidate and the networks.
        """
        nets = self.networks
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in candidates}
        failed: dict[str, str] = {}
        turns = steps.in_turns(worker, candidates, [",".join(nets)], self.rounds)
        for name, result in track(
            turns, "training steps", total=len(candidates) * self.rounds, transient=True, console=self.console
        ):
            if "error" in result and name not in failed:
                failed[name] = result["error"]
                self.keep("failed", failed)
                self.console.print(f"{name}: failed: {failed[name]}", markup=False, highlight=False)
            runs[name].append(result)
            self.keep("steps", steps.summary(runs, nets))
        table = steps.summary(runs, nets)
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
            self.console.print(shown)
        return table

    def crossover(self) -> None:
        """Measure rows per second by batch size on each backend, on the first network."""
        network = self.networks[0]
        result = crossover.run_crossover(self.backends, network)
        table = Table(
            "backend", *(f"batch {size}" for size in crossover.SIZES), title=f"rows per second, network {network}"
        )
        for name, rates in result["rows_per_second"].items():
            table.add_row(name, *(f"{rate:,.0f}" for rate in rates.values()))
        self.console.print(table)
        for sentence in result["sentences"]:
            self.console.print(sentence, highlight=False)
        self.keep("crossover", result)

    def overhead(self) -> None:
        """Measure what nnx takes beside the operations of a step, on each backend."""
        result = {name: overhead.run_overhead(name) for name in self.backends}
        for name, row in result.items():
            self.console.print(
                f"{name}: a step of S takes {row['step'] * 1e6:.1f} µs more than its operations, "
                f"a step of fit on 60,000 rows of bytes {row['fit'] * 1e6:.1f} µs more than a step",
                highlight=False,
            )
        self.keep("overhead", result)

    def script(self, script: Path, arguments: Sequence[str]) -> None:
        """Measure whole processes of a training script on each backend."""
        results = run_script(script, arguments, self.backends, self.rounds)
        table = Table("backend", "median s", "range", "first run, s", title=f"{script.name}, whole process")
        for name, row in results.items():
            table.add_row(name, f"{row['median']:.2f}", f"{row['min']:.2f}..{row['max']:.2f}", f"{row['first']:.2f}")
        self.console.print(table)
        self.keep("script", results)


def draw_steps(path: Path, table: dict[str, Any]) -> None:
    """Draw a summary of training steps, backends in colour, into a PNG or SVG file; say so where matplotlib lacks."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"left out: {path} (matplotlib is not installed; pip install 'nnx-array[plot]')")
        return
    figure = Figure(figsize=(4.2 * len(table), 3.4), layout="constrained")
    for axes, (net, rows) in zip(figure.subplots(1, len(table), squeeze=False)[0], table.items(), strict=True):
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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
