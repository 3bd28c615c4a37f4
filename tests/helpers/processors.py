"""Processes in which kernels are compiled for other processors than this one."""

import os
import subprocess
import sys

import pytest

narrower_vectors = pytest.mark.parametrize(
    ("features", "expected"),
    [({"avx2": True, "fma": True}, (32, 16)), ({}, (16, 16)), ({"neon": True}, (16, 32))],
    ids=str,
)
"""Features of a processor, and the bytes of its vectors with how many registers there are."""


def run(code, features, expected, cache):
    """Run code in which {features} and {expected} stand for these, with an empty cache of kernels."""
    done = subprocess.run(
        [sys.executable, "-c", code.format(features=features, expected=expected)],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
