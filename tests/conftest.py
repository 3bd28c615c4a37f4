"""Tests side by side, and fixtures for all."""

import os

import pytest
from plugins import install_only

__all__ = ["install_only", "pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Leave each of several workers one thread for matrix products: OpenBLAS' threads wait by spinning."""
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
