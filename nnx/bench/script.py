"""A training script of the user's own on several backends: whole processes, taking turns."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, NnxError


class ScriptError(NnxError, RuntimeError):
    """The script ended with an error."""


def run_script(script: Path, arguments: Sequence[str], backends: Sequence[str], rounds: int) -> dict[str, Any]:
    """Seconds of the whole process by backend, the first run (which may compile) apart."""
    if not script.is_file():
        raise InputError(f"{script}: there is no such script.")
    times: dict[str, list[float]] = {name: [] for name in backends}
    for turn in range(rounds + 1):
        for name in backends if turn % 2 == 0 else list(reversed(backends)):
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, str(script), *arguments],
                env=os.environ | {"NNX_BACKEND": name},
                capture_output=True,
                text=True,
                check=False,
            )
            times[name].append(time.perf_counter() - start)
            if done.returncode:
                raise ScriptError(
                    f"{script} failed on {name} with exit status {done.returncode}:\n{done.stderr.strip()}"
                )
    return {
        name: {
            "first": values[0],
            "median": statistics.median(values[1:]),
            "min": min(values[1:]),
            "max": max(values[1:]),
        }
        for name, values in times.items()
    }
