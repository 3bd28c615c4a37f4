"""The figures of the README and of docs/speed.md are those of bench/results."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README, README_ZH, SPEED = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md", "docs/speed.md")
)


def results(name):
    return json.loads((ROOT / f"bench/results/{name}.json").read_text(encoding="utf-8"))


def table(page, before):
    """The rows of the first table after a text: lists of cells, the head and the rule left out."""
    lines = page.split(before, 1)[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("*") for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize(
    ("page", "before"), [(README, "## Speed"), (README_ZH, "## 速度"), (SPEED, "## Training steps")]
)
def test_training_steps(page, before):
    measured = results("steps")["steps"]
    names = {"nnx, numba": "numba", "nnx, numpy": "numpy"}
    rows = table(page, before)
    assert {names.get(row[0], row[0]) for row in rows[:2]} == {"numba", "numpy"}
    assert len(rows) == len(measured["S"])
    for (name, *cells), candidate in zip(rows, measured["S"], strict=True):
        if page is not README_ZH:
            assert names.get(name, name) == candidate
        got = [cell.replace(",", "") for cell in cells]
        assert got == [f"{measured[network][candidate]['warm'] * 1e6:.0f}" for network in ("S", "L", "M")]


@pytest.mark.parametrize("of", ["steps", "avx2/steps"])
@pytest.mark.parametrize("page", [README, README_ZH, SPEED])
def test_the_lead_of_training_steps(page, of):
    measured = results(of)["steps"]
    for network in ("S", "L", "M"):
        frameworks = [
            seconds["warm"]
            for name, seconds in measured[network].items()
            if name in ("PyTorch", "torch.compile", "JAX jit")
        ]
        lead = min(frameworks) / measured[network]["numba"]["warm"]
        assert re.search(rf"\b{lead:.2f}\b", page), (network, lead)


def test_pictures():
    for (_, *cells), (_, net) in zip(table(SPEED, "## Pictures"), results("convolution")["nets"].items(), strict=True):
        seconds = net["seconds"]
        least = {
            short: min(value for name, value in seconds.items() if name.startswith(short))
            for short in ("numba", "numpy", "PyTorch", "JAX jit", "im2col in NumPy")
        }
        for cell, value in zip(cells, least.values(), strict=True):
            assert abs(float(cell) - value * 1e3) <= (0.05 if "." in cell else 0.5), (cell, value)


def test_the_books_scripts():
    scripts = results("book")["scripts"]
    *rows, total = table((ROOT / "docs/my-scripts.md").read_text(encoding="utf-8"), "### Numbers and times")
    sums = [0.0, 0.0]
    for (name, theirs, ours, ratio), (script, measured) in zip(rows, scripts.items(), strict=True):
        medians = measured["median"].values()
        assert name == f"`{script}`"
        assert [theirs, ours] == [f"{seconds:.1f}" for seconds in medians]
        assert ratio == f"{measured['ratio']:.2f}"
        sums = [a + b for a, b in zip(sums, medians, strict=True)]
    assert total == ["all", *(f"{seconds:.0f}" for seconds in sums), f"{sums[0] / sums[1]:.2f}"]


def test_against_scikit_learn():
    for (name, *cells), (case, measured) in zip(
        table(SPEED, "## Against scikit-learn"), results("sklearn")["cases"].items(), strict=True
    ):
        assert name == case
        *times, accuracies = cells
        for cell, one in zip(times, measured.values(), strict=True):
            seconds, _, ratio = cell.partition(" ")
            assert seconds == f"{one['median']:.2f}"
            assert ratio in ("", f"({one['ratio']:.2f} times)")
        assert accuracies == ", ".join(f"{one['accuracy']:.4f}" for one in measured.values())
