"""The orders of warps in which the emulator runs the kernels."""

import pytest

ORDERS = (0, 1, 7, 11)
"""Ascending, descending, and two random ones."""
SOME_ORDERS = [pytest.param(order, marks=() if order == 7 else pytest.mark.long) for order in ORDERS]
"""For tests in each: by default in one, as the kit as a whole runs in ascending order; in all of them by `-m long`."""
