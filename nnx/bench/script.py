"""A user's training script on several backends: whole processes, taking turns."""

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
    """Measure the seconds of the whole process on each backend.

    Args:
        script: The script.
        arguments: Its arguments.
        backends: Names of the backends, set as NNX_BACKEND.
        rounds: Runs on each backend, after a first one, which may compile.

    Returns:
        By backend, "first" run, and "median", "min" and "max" of the others, in seconds.

    Raises:
        InputError: If there is no such script.
        ScriptError: If the script ends with an error.
    """
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
