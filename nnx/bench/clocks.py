"""The clocks that an NVIDIA GPU runs at, without which a benchmark figure means little."""

import subprocess

_QUERY = ("name", "clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem", "power.draw", "temperature.gpu")


def gpu_clocks() -> list[dict[str, str]]:
    """Query nvidia-smi for each GPU's present clocks; return an empty list if there is no nvidia-smi or it fails."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return []
    return [dict(zip(_QUERY, line.split(", "), strict=False)) for line in done.stdout.splitlines()]
