"""Tests side by side, and fixtures for all."""

import os

import pytest
from plugins import install_only

__all__ = ["install_only", "pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Let several workers share the machine.

    Each has one thread for matrix products, as OpenBLAS' threads wait by spinning. Neighbouring tests go to the same
    worker, so that what they share is made once, and whoever is done takes over half of what another has before it.
    """
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        if config.option.dist == "load":  # what -n alone means
            config.option.dist = "worksteal"
