"""The whole conformance kit over the CuPy backend, its kernels run by the emulator."""

import pytest
from emulator import EmulatedBackend
from orders import ORDERS

from nnx import testing
from nnx.ops import Ops, spec


def _passes(order: int, dtype: str) -> None:
    """Run the kit's checks in a dtype; of others, such as integers, with float32's."""
    ops = Ops(EmulatedBackend(order))
    for check in testing.checks():
        if (dtype == "float64") == ("float64" in check.id):
            check.run(ops)
    assert set(ops.explain().fused) == set(spec.OPERATIONS)


@pytest.mark.parametrize("order", [pytest.param(o, marks=() if o == 7 else pytest.mark.long) for o in ORDERS])
def test_the_kit_passes(order: int) -> None:
    _passes(order, "float32")


@pytest.mark.long
@pytest.mark.parametrize("order", ORDERS)
def test_the_kit_passes_in_double_precision(order: int) -> None:
    _passes(order, "float64")
