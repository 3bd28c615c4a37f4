"""A network at several learning rates."""

import csv

import numpy as np
import pytest
from command_line import nnx_command

import nnx
from nnx import lab
from nnx.lab._training import Curve

SPLITS = nnx.datasets.load("digits")
QUICK = {"epochs": 5, "backend": "numpy", "verbose": False}


def curve(*accuracies, diverged=None):
    return Curve((1.0,) * len(accuracies), accuracies, diverged)


def result(accuracies, most=0.1):
    return lab.Rates({lr: curve(a) for lr, a in accuracies.items()}, 100, most, "title", "about")


@pytest.fixture(scope="module")
def found():
    return lab.rates(SPLITS, nnx.MLP((30,), 10), "sgd", lrs=[100.0, 0.0001, 0.1, 0.1], **QUICK)


def test_they_are_too_small_good_and_too_large(found):
    assert list(found.curves) == [0.0001, 0.1, 100.0]
    assert [found.verdict(lr).split(",")[0] for lr in found.curves] == ["too small", "good", "too large"]
    assert "good: 0.1, within one standard error of the best accuracy, 0.9" in found.summary()
    assert max(map(len, str(found).splitlines())) < 80


def test_trainings_begin_with_the_same_weights_and_leave_the_model(monkeypatch):
    weights = []
    model = nnx.MLP((5,), 10).build((8, 8), backend="numpy", seed=3)
    before = model.state_dict()

    def fit(self, *arguments, **settings):
        weights.append(self.model.state_dict())

    monkeypatch.setattr(nnx.Trainer, "fit", fit)
    lab.rates(SPLITS, model, lrs=[0.1, 0.2], **QUICK)
    for state in (*weights, model.state_dict()):
        for name, array in before.items():
            np.testing.assert_array_equal(state[name], array)


def test_the_rates_are_the_optimizers_own_and_up_to_a_hundred_times_as_much(monkeypatch):
    rates = []
    monkeypatch.setattr(nnx.Trainer, "fit", lambda self, *arguments, **settings: rates.append(self.optimizer.lr))
    trainer = nnx.Trainer(nnx.MLP((5,), 10), nnx.Adam(lr=nnx.schedules.Step(0.03, every=5)))
    lab.rates(SPLITS, trainer, **QUICK)
    assert rates == [0.0003, 0.003, 0.03, 0.3, 3.0]
    assert trainer.optimizer.lr == nnx.schedules.Step(0.03, every=5)
    assert not trainer.model.built


@pytest.mark.parametrize(
    ("accuracies", "verdicts", "words"),
    [
        (
            {1: 0.5, 2: 0.98, 3: 0.8, 4: 0.97, 5: 0.1},
            "too small, good, worse, good, too large",
            "good: 2 and 4,",
        ),
        ({1: 0.98, 2: 0.5}, "good, too large", "; try smaller ones, too"),
        ({1: 0.98, 2: 0.98}, "good, good", "; try smaller ones and greater ones, too"),
        (
            {1: 0.12, 2: 0.1},
            "no good, no good",
            "none learns: always giving the most frequent class has 0.1000",
        ),
    ],
)
def test_good_is_within_one_standard_error_of_the_best(accuracies, verdicts, words):
    found = result(accuracies)
    assert ", ".join(map(found.verdict, found.curves)) == verdicts
    assert words in found.summary()


def test_accuracies_are_means_over_the_last_fifth():
    found = lab.Rates({0.1: curve(*[0.0] * 8, 0.8, 0.9)}, 100, 0.1, "title", "about")
    assert found.settled(0.1) == pytest.approx(0.85)


def test_a_divergence_is_a_result():
    curves = {0.1: curve(0.9), 9.0: Curve((), (), "the loss became nan")}
    found = lab.Rates(curves, 100, 0.1, "title", "about")
    assert found.verdict(9.0) == "too large, diverges"
    found.plot().draw_without_rendering()
    assert lab.Rates({9.0: curves[9.0]}, 100, 0.1, "title", "about").verdict(9.0) == "no good, diverges"


def test_command(found, tmp_path, capsys, monkeypatch):
    flags = "rates --hidden 30 --optimizer sgd --lrs 0.0001,0.1,100 --epochs 5 --backend numpy --out"
    assert nnx_command("lab", *flags.split(), tmp_path) == 0
    out = capsys.readouterr().out
    assert found.summary() in out
    assert "written to" in out.splitlines()[-1]
    assert out.endswith("rates.csv, rates.png\n")
    rows = list(csv.DictReader((tmp_path / "rates.csv").read_text().splitlines()))
    assert [row["verdict"] for row in rows if row["epoch"] == "5"][:2] == ["too small", "good"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lrs": [0.1, -1]}, "lrs: got -1, expected a finite number greater than 0."),
        ({"lrs": 0.1}, "lrs: got 0.1, expected a list such as"),
        ({"model": 3}, "model: got 3, expected an nnx.Sequential or an nnx.Trainer."),
        ({"optimizer": 3}, "optimizer: got 3, expected a name or an nnx.Optimizer."),
        ({"model": nnx.Trainer(nnx.MLP((5,), 1), loss="mse")}, "predicts numbers, not classes"),
        ({"epochs": 0}, "epochs: got 0"),
        ({"data": "digit"}, "unknown data set 'digit'. Did you mean 'digits'?"),
    ],
)
def test_refusals_come_before_the_work(settings, message, monkeypatch):
    monkeypatch.setattr(nnx.Trainer, "fit", None)
    with pytest.raises(nnx.NnxError) as error:
        lab.rates(**settings)
    assert message in str(error.value)
