"""Pages and examples leave nothing behind."""

import pytest

from nnx._support.named import FUNCTIONS
from nnx.layers import LAYERS
from nnx.losses import LOSSES
from nnx.optimizers import OPTIMIZERS


@pytest.fixture(autouse=True)
def _nothing_stays_registered():
    tables = LAYERS, LOSSES, OPTIMIZERS, FUNCTIONS
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)
