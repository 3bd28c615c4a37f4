"""examples/own_parts.py on the CPU's backends."""

import runpy
from pathlib import Path

import pytest

import nnx

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("backend", [s.name for s in nnx.list_backends() if s.usable and s.name in ("numpy", "numba")])
def test_the_example(backend):
    main = runpy.run_path(str(ROOT / "examples/own_parts.py"))["main"]
    losses, explanation = main(backend)
    assert losses[-1] < 0.7 * losses[0]
    assert {"activation", "activation_backward", "affine", "loss", "update_"} <= set(explanation.fused)
    assert explanation.declined == {}
