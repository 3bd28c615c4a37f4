"""What a machine has, how every backend does on it, and what costs speed needlessly.

The advice comes from pure functions of the environment variables and of the texts under /proc and /sys, so that a test
can describe any machine.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from . import testing
from .backend import BackendStatus, choose, environment, get_backend, list_backends
from .errors import NnxError

_GIB = 2**30


@dataclass(frozen=True)
class OpResult:
    """How an operation did in the conformance kit on this machine; `seconds` is the time of its checks."""

    op: str
    how: str
    """ "fused" or "composed"."""
    passed: bool
    seconds: float
    declined: int
    error: str | None


@dataclass(frozen=True)
class BackendDiagnosis:
    """One backend: why it cannot run, or what it runs on and how its operations did."""

    name: str
    provider: str
    reason: str | None
    info: dict[str, str] = field(default_factory=dict)
    ops: tuple[OpResult, ...] = ()
    notes: tuple[str, ...] = ()
    """Further remarks, such as on methods with nearly the name of an operation."""

    @property
    def ok(self) -> bool:
        """Whether every operation passed, or none was tried."""
        return all(op.passed for op in self.ops)


@dataclass(frozen=True)
class Diagnosis:
    """Everything that `nnx doctor` prints."""

    processor: str
    backends: tuple[BackendDiagnosis, ...]
    chosen: str
    """Which backend is used now and why, or why none can be."""
    chosen_ok: bool
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether a training started now would run, and with correct results."""
        return self.chosen_ok and all(backend.ok for backend in self.backends)


@dataclass(frozen=True)
class Machine:
    """What the advice depends on."""

    variables: Mapping[str, str]
    flags: frozenset[str]
    """The processor's features."""
    cores: float
    """Number of cores that this process may use, a container's quota included."""
    memory: float | None
    """Bytes that this process may use, if that is known."""
    packages: frozenset[str]


def this_machine() -> Machine:
    """Describe the machine that this process runs on."""
    root = Path("/sys/fs/cgroup")
    return Machine(
        variables=dict(os.environ),
        flags=cpu_flags(_text(Path("/proc/cpuinfo"))),
        cores=min(environment.cores(), cpu_quota(_text(root / "cpu.max"))),
        memory=memory_limit(_text(root / "memory.max"), _text(Path("/proc/meminfo"))),
        packages=frozenset(d.metadata["Name"].lower() for d in distributions() if d.metadata["Name"]),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """Return the processor's features, from the text of /proc/cpuinfo."""
    for line in cpuinfo.splitlines():
        if line.startswith("flags"):
            return frozenset(line.split(":", 1)[1].split())
    return frozenset()


def cpu_quota(cpu_max: str) -> float:
    """Return the number of cores that a control group allows, from its cpu.max; infinity if there is no limit."""
    parts = cpu_max.split()
    return int(parts[0]) / int(parts[1]) if len(parts) == 2 and parts[0].isdigit() else float("inf")


def memory_limit(memory_max: str, meminfo: str) -> float | None:
    """Return the usable memory in bytes; None if it is unknown.

    It is the smaller of a control group's memory.max and MemAvailable in /proc/meminfo.
    """
    known = [float(memory_max)] if memory_max.strip().isdigit() else []
    known += [float(line.split()[1]) * 1024 for line in meminfo.splitlines() if line.startswith("MemAvailable")]
    return min(known, default=None)


def advice(machine: Machine, infos: Iterable[Mapping[str, str]] = ()) -> list[str]:
    """Return what costs speed or can go wrong on a machine, and what to do about it.

    Args:
        machine: The machine.
        infos: `device_info()` of each usable backend.
    """
    found = []
    variables = machine.variables
    if core := variables.get("OPENBLAS_CORETYPE"):
        harm = "; this processor has AVX-512, and products may run at half speed" if "avx512f" in machine.flags else ""
        found.append(f"OPENBLAS_CORETYPE={core} tells OpenBLAS not to look which processor this is{harm}. Unset it.")
    if size := variables.get("OPENBLAS_L2_SIZE"):
        found.append(f"OPENBLAS_L2_SIZE={size} replaces the cache size that OpenBLAS measures. Unset it.")
    if "NVIDIA_TF32_OVERRIDE" in variables:
        value = variables["NVIDIA_TF32_OVERRIDE"]
        found.append(f"NVIDIA_TF32_OVERRIDE={value} changes the precision of every product on a GPU. Unset it.")
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NNX_NUM_THREADS"):
        value = variables.get(name, "")
        if value.isdigit() and 0 < int(value) < int(machine.cores):
            found.append(f"{name}={value} leaves {int(machine.cores) - int(value)} of {int(machine.cores)} cores idle.")
    threads = max((int(info["blas threads"]) for info in infos if info.get("blas threads", "").isdigit()), default=0)
    if threads > machine.cores:
        found.append(
            f"BLAS runs {threads} threads on {machine.cores:g} cores: they get in each other's way. "
            f"Set NNX_NUM_THREADS={max(1, int(machine.cores))}."
        )
    if machine.memory is not None and machine.memory < _GIB:
        found.append(f"only {machine.memory / _GIB:.2f} GiB of memory can be used here; large data sets will not fit.")
    wheels = sorted(p for p in machine.packages if p == "cupy" or p.startswith("cupy-cuda"))
    if len(wheels) > 1:
        found.append(f"several CuPy packages are installed ({', '.join(wheels)}): uninstall all but one.")
    if any("kernel cache" in info for info in infos):
        found.append("compiled kernels cannot be kept: set NUMBA_CACHE_DIR to a folder that can be written.")
    return found


def diagnose(
    only: str | None = None, machine: Machine | None = None, begin: Callable[[str], object] = lambda name: None
) -> Diagnosis:
    """Run every usable backend's operations, and give advice.

    Args:
        only: Name of the only backend to look at; None for all.
        machine: The machine that the advice is for; None for this one.
        begin: Called with the name of each backend before its operations are run, which takes up to a minute.

    Raises:
        InputError: For an unknown backend.
    """
    machine = this_machine() if machine is None else machine
    statuses = [status for status in list_backends() if only in (None, status.name)]
    if not statuses and only is not None:
        get_backend(only)  # raises, with the known names
    backends = tuple(_examine(status, begin) for status in statuses)
    try:
        choice = choose(only)
        chosen, chosen_ok = f"{choice.backend.name} ({choice.why})", True
    except NnxError as error:
        chosen, chosen_ok = str(error), False
    warnings = advice(machine, [backend.info for backend in backends])
    return Diagnosis(environment.processor(), backends, chosen, chosen_ok, tuple(warnings))


def _examine(status: BackendStatus, begin: Callable[[str], object]) -> BackendDiagnosis:
    if not status.usable:
        return BackendDiagnosis(status.name, status.provider, status.reason)
    begin(status.name)
    try:
        backend = get_backend(status.name)
        report = testing.run(backend)
        notes = tuple(report.explanation.notes())
        return BackendDiagnosis(status.name, status.provider, None, backend.device_info(), _ops(report), notes)
    except Exception as error:
        return BackendDiagnosis(status.name, status.provider, f"{type(error).__name__}: {error}")


def _ops(report: testing.Report) -> tuple[OpResult, ...]:
    rows: dict[str, dict[str, Any]] = {}
    for result in report.results:
        row = rows.setdefault(result.check.op, {"seconds": 0.0, "error": None})
        row["seconds"] += result.seconds
        row["error"] = row["error"] or result.error
    how = report.explanation
    return tuple(
        OpResult(
            op,
            "fused" if op in how.fused or op in ("required", "training") else "composed",
            row["error"] is None,
            row["seconds"],
            how.declined.get(op, 0),
            row["error"],
        )
        for op, row in rows.items()
    )
