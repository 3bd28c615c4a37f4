"""`nnx launch`: what its processes run, and what it refuses."""

import pytest
from command_line import nnx_command

from nnx.cli import _launch
from nnx.launch._mpiexec import MPIExec


@pytest.fixture
def launched(monkeypatch):
    """What a launch would run; it ends with the status 7."""
    made = []

    class Recorded:
        def __init__(self, mpiexec, ranks, words, **settings):
            made.append((ranks, words, {name: value for name, value in settings.items() if value is not None}))

        def run(self):
            return 7

    monkeypatch.setattr(_launch, "Launch", Recorded)
    monkeypatch.setattr(_launch, "find_mpiexec", lambda path: MPIExec("mpiexec", "hydra"))
    return made


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["train.py", "--epochs", "3", "-n", "9"], ["train.py", "--epochs", "3", "-n", "9"]),
        (["python", "train.py", "a"], ["train.py", "a"]),
        (["python3.11", "-m", "package", "a"], ["-m", "package", "a"]),
        (["-m", "package.module", "a"], ["-m", "package.module", "a"]),
        (["nnx", "train", "--epochs", "3"], ["-m", "nnx.cli", "train", "--epochs", "3"]),
        (["--probe"], ["-m", "nnx.parallel.probe"]),
    ],
)
def test_what_the_processes_run(launched, given, words):
    assert nnx_command("launch", "-n", "4", *given) == 7
    assert launched == [(4, words, {"silence": 15.0, "restarts": 0})]


def test_options_come_before_the_script(launched):
    options = ["--restarts", "2", "--hosts", "a,b", "--address", "here", "--silence", "30"]
    assert nnx_command("launch", *options, "train.py") == 7
    assert launched == [(2, ["train.py"], {"hosts": "a,b", "address": "here", "silence": 30.0, "restarts": 2})]


def test_something_is_to_be_run(launched, capsys):
    assert nnx_command("launch", "-n", "2") == 1
    assert "SCRIPT: got none, expected a Python script, nnx with one of its commands" in capsys.readouterr().err
    assert nnx_command("launch", "--probe", "train.py") == 1
    assert "--probe: got train.py, too; expected no script" in capsys.readouterr().err


def test_a_training_that_may_begin_again_needs_a_folder(launched, capsys):
    assert nnx_command("launch", "--restarts", "2", "nnx", "train", "--epochs", "3") == 1
    assert "--restarts: nnx train has no --out, expected a folder in which to go on" in capsys.readouterr().err
    assert nnx_command("launch", "--restarts", "2", "nnx", "train", "--out=run") == 7
    assert nnx_command("launch", "nnx", "train") == 7


def test_a_launch_that_begins_again_goes_on_in_its_folder(tmp_path, monkeypatch, capsys):
    train = ["train", "--hidden", "10", "--out", tmp_path / "run", "--backend", "numpy"]
    monkeypatch.setenv("NNX_RESTARTS", "1")  # it died before it had a folder
    assert nnx_command(*train, "--epochs", "1") == 0
    monkeypatch.setenv("NNX_RESTARTS", "2")
    assert nnx_command(*train, "--epochs", "2") == 0
    assert "continuing after epoch 1" in capsys.readouterr().out
    monkeypatch.setenv("NNX_RESTARTS", "0")
    assert nnx_command(*train, "--epochs", "2") == 1
    assert "holds a run already; pass --resume to continue it" in capsys.readouterr().err
