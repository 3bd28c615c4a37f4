"""Tests side by side."""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Leave each of several workers one thread for matrix products: OpenBLAS' threads wait by spinning."""
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
