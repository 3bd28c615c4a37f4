"""The number of threads."""

import os


def thread_count() -> int | None:
    """Return NNX_NUM_THREADS, or None if it is not set; raise ValueError for anything but a number above 0."""
    value = os.environ.get("NNX_NUM_THREADS", "").strip()
    if not value:
        return None
    if not value.isdigit() or int(value) < 1:
        raise ValueError(f"NNX_NUM_THREADS: got {value!r}, expected a whole number of at least 1")
    return int(value)
