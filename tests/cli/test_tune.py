"""`nnx tune`, as a person meets it."""

import json
import re

import pytest
from command_line import nnx_command

import nnx
from nnx.cli._tune import parse_space
from nnx.tune import Choice, Linear, Log

QUICK = ["tune", "lr=log:1e-4..1e-1", "hidden=20", "--trials", 3, "--rounds", 2, "--epochs", 1]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNX_BACKEND", "numpy")
    return tmp_path


@pytest.mark.slow
def test_from_a_search_to_a_trained_network(here, capsys):
    assert nnx_command(*QUICK, "--test") == 0
    out = capsys.readouterr().out
    assert "digits: 1294 rows to train on, 144 to validate, 359 put aside for the test" in out
    assert re.search(r"round 1 of 2: 3 trials, best val_accuracy 0\.\d{4} \(trial [123]\)", out)
    assert re.search(r"  lr: Log\(0\.0001, 0\.1\) -> Log\(.*\): the best 2 lie in ", out)
    assert "6 trials in 2 rounds; the best:" in out
    assert "the choice: trial" in out
    assert "written to runs/tune-digits: tune.csv, rounds.csv, best.json" in out
    (accuracy,) = re.findall(r"test accuracy (0\.\d{4})", out)
    assert out.splitlines()[-1] == "train it for longer, with: nnx train --config runs/tune-digits/best.json --epochs 5"

    # The same rows, weights and batches: the same network as the search evaluated.
    assert nnx_command("train", "--config", "runs/tune-digits/best.json") == 0
    assert f"test accuracy {accuracy}\n" in capsys.readouterr().out

    assert nnx_command("tune", "--repeat", 4) == 0
    assert re.search(r"trial 4: val_accuracy 0\.\d{4}; again: the same, bit for bit", capsys.readouterr().out)

    # Nothing is left to do, and the settings are the search's own.
    assert nnx_command("tune", "--resume", "--out", "runs/tune-digits", "--test") == 0
    assert f"test accuracy {accuracy}" in capsys.readouterr().out
    assert nnx_command("tune", "--resume", "--epochs", 2) == 1
    assert "epochs is 1 there, got 2" in capsys.readouterr().err
    assert nnx_command("tune", "--resume", "lr=log:1e-4..1", "hidden=20") == 1
    assert "lr is Log(0.0001, 0.1) there, got Log(0.0001, 1)" in capsys.readouterr().err
    assert nnx_command(*QUICK, "--out", "runs/tune-digits") == 1
    assert "runs/tune-digits: holds a search already; pass --resume" in capsys.readouterr().err
    assert nnx_command(*QUICK) == 0
    assert "written to runs/tune-digits-2" in capsys.readouterr().out


@pytest.mark.slow
def test_interrupted_and_resumed(here, capsys, monkeypatch):
    def interrupted(self, *args, **keywords):
        self.interrupted = True
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(nnx.Trainer, "fit", interrupted)
        assert nnx_command(*QUICK, "--out", "my search") == 130
    out = capsys.readouterr().out
    assert "interrupted; the finished trials are kept" in out
    assert out.splitlines()[-1] == "continue with: nnx tune --resume --out 'my search'"
    assert nnx_command("tune", "--resume", "--out", "my search") == 0
    assert "6 trials in 2 rounds" in capsys.readouterr().out
    assert json.loads((here / "my search/best.json").read_text())["hidden"] == [20]


def test_ranges_as_they_are_written():
    texts = ["lr=log:1e-6..1e-2", "dropout=0..0.5", "batch_size=32/64", "hidden=100/200,100", "units=linear:8..64"]
    assert parse_space([*texts, "activation=tanh", "batchnorm=true", "init=none/he/0.01", "sizes=log:16..512"]) == {
        "lr": Log(1e-6, 1e-2),
        "dropout": Linear(0, 0.5),
        "batch_size": Choice(32, 64),
        "hidden": Choice(100, (200, 100)),
        "units": Linear(8, 64),
        "activation": "tanh",
        "batchnorm": True,
        "init": Choice(None, "he", 0.01),
        "sizes": Log(16, 512),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("lr=log:0..1", "Log(0, 1): a logarithmic scale has no 0"),
        ("lr=1..0", "Linear(1, 0): is reversed; expected Linear(0, 1)"),
        ("lr=1..1", "lr: Linear(1, 1) is empty"),
        ("lr=", "'lr=': expected NAME=RANGE, such as lr=log:1e-5..1e-1"),
        ("lr", "'lr': expected NAME=RANGE"),
        ("lr=log:a..b", "lr: got 'log:a..b', expected two numbers"),
        ("lr=log:5", "lr: got 'log:5', expected two numbers, such as log:1e-5..1e-1"),
        ("lr=0..1 lr=0..2", "lr: got it twice"),
        ("dropuot=0..0.5", "unknown parameter 'dropuot'. Did you mean 'dropout'?"),
        ("lr=0.1", "space: there is nothing to search"),
        ("optimizer=adam/addam", "optimizer=addam cannot be used: unknown optimizer 'addam'. Did you mean 'adam'?"),
        ("--trials 0", "trials: got 0, expected a whole number of at least 1"),
        ("--dataset digit", "unknown data set 'digit'. Did you mean 'digits'?"),
        ("--sampler tea", "unknown sampler 'tea'. Did you mean 'tpe'?"),
        ("--resume", "there is no search under runs/; pass --out FOLDER of one"),
        ("--resume --out nowhere", "nowhere: holds no search (there is no study.db)"),
        ("--repeat 1 --out nowhere", "nowhere: holds no search"),
        ("--storage oracle://u:secret@h/d --name x", "needs a driver that cannot be imported"),
    ],
)
def test_bad_flags_are_one_message(arguments, message, here, capsys):
    assert nnx_command("tune", *arguments.split()) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("nnx: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert "secret" not in captured.err
    assert not list(here.glob("runs/*/study.db"))


def test_a_search_begun_in_python(here, capsys):
    data = nnx.datasets.load("digits")
    nnx.tune.search({"lr": Log(1e-3, 1)}, data, trials=1, rounds=1, epochs=1, folder=here / "study", verbose=False)
    assert nnx_command("tune", "--resume", "--out", "study") == 1
    assert "this search was begun in Python" in capsys.readouterr().err
