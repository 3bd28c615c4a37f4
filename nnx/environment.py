"""What a run's bits depend on: the machine, the backend, its libraries and threads."""

import platform

from .backend import Backend


def processor() -> str:
    """The name of the CPU."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe(backend: Backend) -> dict[str, str]:
    """By name: backend, processor, and what the backend's `device_info` tells."""
    return {"backend": backend.name, "processor": processor(), **backend.device_info()}


def differences(saved: dict[str, str], now: dict[str, str]) -> list[str]:
    """One sentence part for each entry that changed."""
    return [
        f"{name} was {saved.get(name, 'not known')!r} and is {now.get(name, 'not known')!r}"
        for name in {**saved, **now}
        if saved.get(name) != now.get(name)
    ]
