"""docs/extending.md's code runs from top to bottom, and examples/own_parts.py on the CPU's backends."""

import runpy
from pathlib import Path

import pytest
from pages import python_of

import nnx
from nnx._support.named import FUNCTIONS
from nnx.layers import LAYERS
from nnx.losses import LOSSES
from nnx.optimizers import OPTIMIZERS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _nothing_stays_registered():
    tables = LAYERS, LOSSES, OPTIMIZERS, FUNCTIONS
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


def test_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = python_of((ROOT / "docs/extending.md").read_text())
    assert len(blocks) > 8
    space = {"__name__": "extending"}
    for block in blocks:
        exec(compile(block, "docs/extending.md", "exec"), space)
    assert "update_                 fused" in capsys.readouterr().out
    worst = nnx.Trainer(nnx.MLP((5,), 3), loss=space["WorstOutput"](), backend="numpy")
    losses = worst.fit(space["x"], space["t"], epochs=3, verbose=False)["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("backend", [s.name for s in nnx.list_backends() if s.usable and s.name in ("numpy", "numba")])
def test_the_example(backend):
    main = runpy.run_path(str(ROOT / "examples/own_parts.py"))["main"]
    losses, explanation = main(backend)
    assert losses[-1] < 0.7 * losses[0]
    assert {"activation", "activation_backward", "affine", "loss", "update_"} <= set(explanation.fused)
    assert explanation.declined == {}
