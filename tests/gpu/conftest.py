"""Tests on an NVIDIA GPU: `pytest -m gpu`. Elsewhere they are skipped, with the backend's own reason."""

from pathlib import Path

import pytest
from nnx_cupy import CupyBackend


def pytest_collection_modifyitems(items):
    reason = CupyBackend.unavailable()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def backend():
    import nnx

    return nnx.get_backend("cupy")
