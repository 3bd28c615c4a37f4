"""The conformance kit: does a backend do what nnx expects of it?

With pytest, in any directory, for an installed backend:  pytest -p nnx.testing --nnx-backend=NAME
Without pytest:  python -m nnx.testing NAME
From Python:  nnx.testing.run(backend) -> Report

For parts of your own: check_activation, check_loss, check_optimizer, check_layer.
"""

from typing import TYPE_CHECKING

from ._kit import Check, Report, Result, checks, run, tolerances
from ._layer import check_layer
from ._own import check_activation, check_loss, check_optimizer

if TYPE_CHECKING:
    import pytest

__all__ = [
    "Check",
    "Report",
    "Result",
    "check_activation",
    "check_layer",
    "check_loss",
    "check_optimizer",
    "checks",
    "run",
    "tolerances",
]


# As a pytest plugin (`-p nnx.testing`). pytest finds these by name; nothing else here needs pytest.


def pytest_addoption(parser: "pytest.Parser") -> None:
    parser.getgroup("nnx").addoption(
        "--nnx-backend", metavar="NAME", help="run the nnx conformance kit on this installed backend"
    )


def pytest_configure(config: "pytest.Config") -> None:
    name = config.getoption("--nnx-backend")
    if name:
        from ._plugin import ConformancePlugin

        config.pluginmanager.register(ConformancePlugin(config, name), "nnx-conformance")
