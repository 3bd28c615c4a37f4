"""The whole conformance kit over the CuPy backend, its kernels run by the emulator."""

import pytest
from emulator import EmulatedBackend
from orders import ORDERS

from nnx import testing
from nnx.ops import spec


@pytest.mark.parametrize("order", [pytest.param(o, marks=() if o == 7 else pytest.mark.long) for o in ORDERS])
def test_the_kit_passes(order: int) -> None:
    report = testing.run(EmulatedBackend(order))
    assert report.ok, str(report)
    assert set(report.explanation.fused) == set(spec.OPERATIONS)
