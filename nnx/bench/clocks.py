"""What clocks an NVIDIA GPU runs at: a figure means little without them."""

import subprocess

_QUERY = ("name", "clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem", "power.draw", "temperature.gpu")


def gpu_clocks() -> list[dict[str, str]]:
    """By nvidia-smi, one entry for each GPU, at this moment; none where there is no nvidia-smi or it fails."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return []
    return [dict(zip(_QUERY, line.split(", "), strict=False)) for line in done.stdout.splitlines()]
