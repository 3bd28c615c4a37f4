"""`nnx lab`, as a person meets it."""

import re

import pytest
from command_line import nnx_command

import nnx


def run(*arguments):
    return nnx_command("lab", *arguments)


@pytest.mark.slow
def test_activations_says_what_is_to_be_seen_and_what_was_written(here, figures, capsys):
    assert run("activations", "--backend", "numpy") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("sigmoid  values  0.007 .. 0.993, greatest derivative 0.250")
    assert lines[-1] == "written to lab/activations: activations.csv, activations-collapse.csv, activations.png"
    assert sorted(file.name for file in (here / "lab/activations").iterdir()) == [
        "activations-collapse.csv",
        "activations.csv",
        "activations.png",
    ]


def test_folders_are_numbered_and_an_absent_matplotlib_is_said(here, capsys):
    assert run("gradient", "--steps", 5) == run("gradient", "--steps", 5) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "left out: gradient.png (matplotlib is not installed; pip install 'nnx-array[plot]')" in lines
    assert lines[-1] == "written to lab/gradient-2: gradient.csv, gradient-field.csv"
    assert run("gradient", "--out", "lab/gradient") == 0  # a folder that is named is written again
    assert len((here / "lab/gradient/gradient.csv").read_text().splitlines()) > 4 * 6


def test_gradient_takes_an_expression_a_start_and_rates(here, capsys):
    assert run("gradient", "x**2 + 3*y**2", "--start=-1,2", "--lrs", "0.1,0.2", "--steps", 30) == 0
    out = capsys.readouterr().out
    assert "gradient descent on x**2 + 3*y**2 from (-1, 2), 30 steps at most" in out
    assert re.search(r"^ +0.2 .* arrives after \d+ steps$", out, re.MULTILINE)


def test_gradient_check_takes_the_networks_flags(capsys):
    flags = "--hidden 9,8 --activation tanh --init 0.1 --batchnorm --dropout 0.5 --rows 7 --samples 3 --backend numpy"
    assert run("gradient-check", *flags.split()) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "Sequential(Flatten(), Affine(9, init=0.1), BatchNorm(), Tanh(), Dropout(), Affine(8, init=0.1), BatchNorm(), "
        "Tanh(), Dropout(), Affine(10)) on 7 rows, 3 elements of each parameter"
    )
    assert "all below 1e-05: the gradients are right." in out


def test_optimizers_takes_rates_by_name(here, capsys):
    flags = "--optimizers sgd,adam --lr sgd=0.5,adam=0.002 --bowl-lr sgd=0.9 --hidden 10 --epochs 2 --batch-size 100"
    assert run("optimizers", *flags.split(), "--out", "here") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[5:7]] == ["SGD", "Adam"]
    assert lines[5].split()[1] == "0.9"
    assert [line.split()[5] for line in lines[5:7]] == ["0.5", "0.002"]
    assert len((here / "here/optimizers.csv").read_text().splitlines()) == 1 + 2 * 2


def test_init_takes_words_and_numbers(here, capsys):
    flags = "--inits zero,0.5,he --activations relu --layers 2 --units 10 --epochs 1 --optimizer adam --lr 0.01"
    assert run("init", *flags.split(), "--out", "here") == 0
    out = capsys.readouterr().out
    assert "digits, 2 layers of 10 units, Adam(lr=0.01" in out
    rows = [line.split()[0] for line in out.splitlines() if re.match(r"  \w.* \d\.\d{4}$", line)]
    assert rows == ["zero", "std", "he"]
    assert len((here / "here/init-curves.csv").read_text().splitlines()) == 1 + 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gradient", "bowll"], "unknown function 'bowll'. Did you mean 'bowl'?"),
        (["gradient", "--lrs", "0.1,x"], "--lrs: got '0.1,x', expected numbers separated by commas"),
        (["gradient", "--lrs", ""], "lrs: got [], expected a list"),
        (["gradient", "--start", "1"], "start: got [1.0], expected two numbers"),
        (["gradient-check", "--hidden", "a"], "--hidden: got 'a', expected sizes separated by commas"),
        (["gradient-check", "--rows", "0"], "--rows: got 0"),
        (["gradient-check", "--init", "hee"], "unknown initialiser 'hee'. Did you mean 'he'?"),
        (
            ["optimizers", "--lr", "a"],
            "--lr: got 'a', expected a number, or NAME=NUMBER pairs, such as sgd=0.1,adam=0.001.",
        ),
        (["optimizers", "--optimizers", ""], "optimizers: got [], expected a list"),
        (["init", "--inits", "zero,oen"], "unknown initialisation 'oen'."),
        (["init", "--dataset", "digit"], "unknown data set 'digit'. Did you mean 'digits'?"),
        (["init", "--backend", "nump"], "unknown backend 'nump'. Did you mean 'numpy'?"),
    ],
)
def test_mistakes_are_one_message_and_write_nothing(here, arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(nnx.Trainer, "fit", None)
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("nnx: ")
    assert message in printed.err
    assert (printed.out, list(here.iterdir())) == ("", [])


def test_a_folder_that_cannot_be_is_refused_before_the_work(here, capsys, monkeypatch):
    monkeypatch.setattr(nnx.lab, "init", None)
    (here / "file").write_text("")
    assert run("init", "--out", "file") == 1
    assert "file: no folder can be written there (" in capsys.readouterr().err
    assert run("init", "--out", "file/deeper") == 1
    assert "file is in the way); pass another --out." in capsys.readouterr().err


def test_every_experiment_is_listed(capsys):
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("activations", "gradient", "gradient-check", "optimizers", "init"))
