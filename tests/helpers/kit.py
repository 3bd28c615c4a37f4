"""The conformance kit in one dtype: each takes as long as the other."""

from typing import Any

import pytest

from nnx import testing
from nnx.ops import Explanation, Ops


def dtypes(mark: Any) -> Any:
    """Decorate a test to run in single precision at each change, and in double precision as marked."""
    return pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=mark)])


def passes(backend: Any, dtype: str) -> Explanation:
    """Run the kit's checks in a dtype; those that are in neither, such as of integers, with float32's."""
    ops = Ops(backend)
    for check in testing.checks():
        if (dtype == "float64") == ("float64" in check.id):
            check.run(ops)
    return ops.explain()
