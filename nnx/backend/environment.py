"""What a run's bits depend on: machine, backend, libraries, threads and environment variables."""

import os
import platform

from ..errors import InputError
from ..ops import FLOATS, Backend


def processor() -> str:
    """Return the name of the CPU."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(backend: Backend) -> dict[str, str]:
    """Return by name: the backend, the processor, and what the backend's `device_info` tells."""
    return {"backend": backend.name, "processor": processor(), **backend.device_info()}


def differences(saved: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return a part of a sentence for each entry that changed."""
    return [
        f"{name} was {saved.get(name, 'not known')!r} and is {now.get(name, 'not known')!r}"
        for name in {**saved, **now}
        if saved.get(name) != now.get(name)
    ]


def script_dtype() -> str | None:
    """Return the dtype that `NNX_SCRIPT_DTYPE` sets for scripts written for other libraries; None if it is not set."""
    dtype = os.environ.get("NNX_SCRIPT_DTYPE") or None
    if dtype not in (None, *FLOATS):
        raise InputError(f"NNX_SCRIPT_DTYPE: got {dtype!r}, expected float32 or float64.")
    return dtype
