"""CUDA kernels without a GPU: makes `emulator` importable, and skips where it cannot run."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from emulator import compiler


@pytest.fixture(autouse=True)
def _emulator_runs() -> None:
    if sys.platform != "linux":
        pytest.skip("the emulator of CUDA kernels runs on Linux only")
    if compiler() is None:
        pytest.skip("no C++ compiler for the emulator of CUDA kernels: install g++, or set CXX")
