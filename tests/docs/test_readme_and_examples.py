"""What README and examples tell users to run, runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import python_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_quick_start_is_one_block_of_two_lines():
    section = README.split("## Quick start")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    first, second = block.splitlines()
    assert first.endswith("nnx train")
    assert second.endswith("pytest -n auto")
    assert all(line.startswith("python3 -m venv .venv && ") for line in (first, second))


@pytest.mark.slow
@pytest.mark.parametrize("code", python_of(README))
def test_python_of_the_readme(code, tmp_path):
    run([sys.executable, "-W", "error", "-c", code], tmp_path)


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SHORT = ("01_activation_functions", "03_overfitting", "own_parts", "study_notes", "train_digits")


@pytest.mark.slow
@pytest.mark.parametrize("backend", [pytest.param("numpy", marks=pytest.mark.long), "numba"])
@pytest.mark.parametrize(
    "script", [pytest.param(p, id=p.name, marks=() if p.stem in SHORT else pytest.mark.long) for p in EXAMPLES]
)
def test_example(script, backend, tmp_path, monkeypatch):
    monkeypatch.setenv("NNX_BACKEND", backend)
    out = run([sys.executable, "-W", "error", str(script)], tmp_path)
    SHOWN[script.stem](out)


def test_examples_say_how_to_run_them():
    for script in EXAMPLES:
        assert f"`python examples/{script.name}`" in script.read_text(encoding="utf-8").split('"""')[1]


def numbers(pattern, out):
    """The numbers that the pattern's groups, or its only one, find: one entry, or one row, a place."""
    found = re.findall(pattern, out, re.MULTILINE)
    assert found, out
    return [tuple(map(float, f)) if isinstance(f, tuple) else float(f) for f in found]


def learns(out):
    assert numbers(r"test accuracy (\d\.\d+)", out)[-1] > 0.95


def activation_functions(out):
    assert numbers(r"differ by (\S+)$", out)[0] < 1e-12  # three linear layers are one
    linear, relu = numbers(r"exclusive or, \w+ +test accuracy (\S+)$", out)
    assert linear < 0.7
    assert relu > 0.95
    slopes = numbers(r"^  slopes +\[(\S+) +\S+ +\S+ +(\S+) ", out)
    assert slopes == [(0.018, 0.25), (0.001, 1.0), (0.0, 0.0)]


def losses_and_gradients(out):
    sure, _, wrong = numbers(r"^\[.*\] +(\S+) +(\S+)$", out)
    assert sure == (0.007, 0.105)
    assert wrong[1] > 4 > 1 > wrong[0]  # only cross entropy is without bound
    assert numbers(r"numerical \[(\S+) +(\S+) *\]", out) == [(-0.7, 4.0)]
    slow, good, diverging = numbers(r"ends at a height of (\S+)$", out)
    assert good < 0.001 < slow < 4 + 49 / 20 < diverging
    assert numbers(r"lr = 0.1 +test accuracy (\S+)$", out)[0] > 0.9
    assert numbers(r"lr = 0.0001 +test accuracy (\S+)$", out)[0] < 0.3


def a_smaller_gap(out):
    (seen, unseen, gap), (_, better, smaller) = numbers(r"^0\.\d+ +(\d\.\d+) +(\d\.\d+) +(-?\d\.\d+)", out)
    assert seen == 1.0
    assert smaller < gap
    assert better > unseen


def overfitting(out):
    a_smaller_gap(out)
    free, held = numbers(r" (\d\.\d{3})$", out)
    assert held < free


def dropout(out):
    a_smaller_gap(out)
    first, second = re.findall(r"training, step \d: \[(.*)\]", out)
    assert first != second


def optimizers(out):
    length = dict(re.findall(r"^(\w+) +\d+ +(\d+\.\d) +\d+$", out, re.MULTILINE))
    assert float(length["SGD"]) > 2 * float(length["Momentum"])  # it zigzags
    loss = dict(re.findall(r"^(\w+) +training loss (\S+),", out, re.MULTILINE))
    assert all(float(loss["SGD"]) > float(loss[name]) for name in ("Momentum", "AdaGrad", "Adam"))


def initial_values(out):
    last = {}
    for activation, init, std in re.findall(r"^  (Sigmoid|ReLU) +(\S+) .* (\S+)$", out, re.MULTILINE):
        last[activation, init] = float(std)
    assert last["Sigmoid", "1.0"] > 0.4  # at 0 and 1
    assert last["Sigmoid", "0.01"] < 0.02
    assert 0.1 < last["Sigmoid", "xavier"] < 0.2
    assert last["ReLU", "0.01"] < 1e-4 < 0.5 < last["ReLU", "he"]
    small, xavier, he = numbers(r"test accuracy (\S+)$", out)
    assert small < 0.3 < 0.9 < min(xavier, he)
    assert "after 3 epochs: 1 different unit(s) of 100" in out


def batch_normalization(out):
    assert "and after:            means [0. 0. 0.]" in out
    assert re.search(r"^ +0.01 +none +1$", out, re.MULTILINE)  # the greatest learning rates without and with
    assert numbers(r"(?:without|with): learns in (\d) of 4", out) == [1, 4]


def hyper_parameters(out):
    ranges = numbers(r"^  \d: lr Log\((\S+), (\S+)\)", out)
    widths = [high / low for low, high in ranges]
    assert len(widths) > 2
    assert widths == sorted(widths, reverse=True)  # the ranges close in
    learns(out)


def convolution(out):
    plain, filters, augmented = numbers(r"^.{21} test accuracy (\S+), of pictures moved by a pixel (\S+)$", out)
    assert filters[0] > 0.97
    assert plain[1] < filters[1] < augmented[1]
    assert augmented[1] > 0.9


def own_parts(out):
    first, last = numbers(r"^loss (\S+) -> (\S+)$", out)[0]
    assert last < first / 2
    assert re.search(r"^  (activation|loss|update_) +composed", out, re.MULTILINE) is None  # formulas are compiled


SHOWN = {
    "01_activation_functions": activation_functions,
    "02_losses_and_gradients": losses_and_gradients,
    "03_overfitting": overfitting,
    "04_dropout": dropout,
    "05_optimizers": optimizers,
    "06_initial_values": initial_values,
    "07_batch_normalization": batch_normalization,
    "08_hyper_parameters": hyper_parameters,
    "09_convolution": convolution,
    "own_parts": own_parts,
    "study_notes": learns,
    "train_digits": learns,
}


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
