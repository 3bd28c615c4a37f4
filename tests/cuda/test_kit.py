"""The whole conformance kit over the CuPy backend, its kernels run by the emulator."""

import kit
import pytest
from emulator import EmulatedBackend
from orders import ORDERS

from nnx.ops import spec


@pytest.mark.parametrize("order", [pytest.param(o, marks=() if o == 7 else pytest.mark.long) for o in ORDERS])
def test_the_kit_passes(order: int) -> None:
    assert set(kit.passes(EmulatedBackend(order), "float32").fused) == set(spec.OPERATIONS)


@pytest.mark.long
@pytest.mark.parametrize("order", ORDERS)
def test_the_kit_passes_in_double_precision(order: int) -> None:
    assert set(kit.passes(EmulatedBackend(order), "float64").fused) == set(spec.OPERATIONS)
