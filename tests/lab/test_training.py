"""`nnx.lab.batchnorm` and `nnx.lab.overfit`: what is to be seen in them, and that they count right."""

import csv
import itertools

import pytest
from command_line import nnx_command

import nnx
from nnx import lab
from nnx.lab._learning import Learning

pytestmark = pytest.mark.slow

BACKENDS = ["numpy", "numba"]
numpy_as_a_long_proof = pytest.mark.parametrize("backend", [pytest.param("numpy", marks=pytest.mark.long), "numba"])
SMALL = {"hidden": (20, 20), "epochs": 2, "verbose": False}


def cli(*arguments):
    return nnx_command("lab", *arguments)


@pytest.mark.slow
@numpy_as_a_long_proof
def test_batch_normalization_learns_where_its_absence_does_not(backend):
    found = lab.batchnorm(stds=(0.01, 0.1), lrs=(0.1, 1.0), epochs=10, batch_size=50, backend=backend, verbose=False)
    assert found.trainings[False, 0.01, 0.1].final < 0.2  # an initialisation that is too small
    assert found.trainings[True, 0.01, 0.1].final > 0.95
    assert found.learns(False, 0.1, 0.1)
    assert found.trainings[False, 0.1, 1.0].final < 0.3  # stalls, or diverges, at a learning rate ten times as great
    assert found.trainings[True, 0.1, 1.0].settled()[1] > 0.9
    assert [found.greatest_lr(normalised, 0.1) for normalised in (False, True)] == [0.1, 1.0]
    assert found.greatest_lr(False, 0.01) is None


@pytest.mark.slow
@numpy_as_a_long_proof
def test_weight_decay_and_dropout_make_the_gap_smaller(backend):
    found = lab.overfit(rows=300, backend=backend, verbose=False)
    none = found.trainings.pop("none")
    assert none.settled()[0] == 1.0  # learned by heart
    assert none.gap > 0.07
    for training in found.trainings.values():
        assert training.gap < 0.85 * none.gap
        assert training.settled()[1] > none.settled()[1]  # because it does better on other rows


def test_settled_is_the_last_fifth():
    learning = Learning(tuple(range(1, 7)), (0.1, 0.5, 0.9, 0.9, 1.0, 0.8), (0.1, 0.2, 0.3, 0.4, 0.5, 0.7), None)
    assert learning.settled() == pytest.approx((0.9, 0.6))
    assert learning.gap == pytest.approx(0.3)
    assert learning.final == 0.8
    assert Learning((1,), (0.9,), (0.9,), "the loss became nan").final == 0.0


def test_looks_are_evenly_spaced():
    found = lab.overfit(rows=20, hidden=(5,), epochs=50, verbose=False)
    epochs = found.trainings["both"].epochs
    assert len(epochs) == 20
    assert epochs[-1] == 50
    assert {b - a for a, b in itertools.pairwise(epochs)} == {2, 3}


def test_batchnorm_counts_what_learned(tmp_path):
    def ends(accuracy):
        return Learning((1,), (accuracy,), (accuracy - 0.1,), None)

    diverged = Learning((), (), (), "the loss became nan in epoch 1")
    places = {(False, 0.1, 0.1): 0.9, (False, 0.1, 1.0): 0.2, (True, 0.1, 0.1): 0.95, (True, 0.1, 1.0): 0.9}
    trainings = {place: ends(accuracy) for place, accuracy in places.items()}
    trainings |= {(False, 1.0, lr): diverged for lr in (0.1, 1.0)} | {(True, 1.0, lr): ends(0.8) for lr in (0.1, 1.0)}
    found = lab.BatchNormalization(dict(sorted(trainings.items())), (0.1, 1.0), (0.1, 1.0), 0.75, "about")
    assert found.greatest_lr(False, 0.1) == 0.1
    assert found.greatest_lr(False, 1.0) is None
    assert found.greatest_lr(True, 1.0) == 1.0
    assert found.best(True) == (True, 0.1, 0.1)
    assert found.mean_gap(True) == pytest.approx(0.1)
    lines = found.summary().splitlines()
    assert lines[3].split() == ["0.1", "0.1", "1"]
    assert lines[4].split() == ["1", "none", "1"]
    assert lines[5].startswith("without: learns in 1 of 4 places of the grid")
    assert lines[6].startswith("with: learns in 4 of 4 places of the grid")
    table, _ = found.save(tmp_path)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 8
    assert [row["diverged"] for row in rows if row["initial std"] == "1.0"] == ["True", "True", "False", "False"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_divergence_is_an_observation(backend):
    found = lab.batchnorm(stds=(1.0,), lrs=(3.0,), backend=backend, epochs=1, verbose=False)
    without = found.trainings[False, 1.0, 3.0]
    assert without.diverged.startswith("the loss became")
    assert without.final == 0
    assert found.best(False) is None
    assert "   1      none" in str(found)
    found.plot()


def test_overfit_trains_on_some_rows_and_validates_on_the_others(tmp_path):
    found = lab.overfit(rows=100, **SMALL)
    assert "100 rows to train on, 1338 to validate; seed 0\n64-20-20-10, relu" in found.about
    assert list(found.trainings) == ["none", "weight decay", "dropout", "both"]
    assert all(len(training.val_accuracy) == 2 for training in found.trainings.values())
    table, figure = found.save(tmp_path)
    assert (table.name, figure.name) == ("overfit.csv", "overfit.png")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 8
    assert float(rows[-1]["val_accuracy"]) == found.trainings["both"].val_accuracy[-1]
    none = found.trainings["none"]
    assert f"none{none.settled()[0]:>20.2%}" in str(found)


def test_overfit_says_where_a_training_diverged():
    found = lab.overfit(lr=3.0, init=1.0, hidden=(100,) * 5, epochs=2, verbose=False)
    assert found.trainings["none"].diverged
    assert "none          diverged: the loss became" in str(found)
    found.plot()


def test_commands(tmp_path, capsys):
    small = ("--hidden", "20", "--epochs", "2", "--out", tmp_path)
    assert cli("overfit", "--rows", "50", *small) == 0
    assert cli("batchnorm", "--stds", "0.1,1", "--lrs", "0.1", *small) == 0
    out = capsys.readouterr().out
    assert "and the gap in percentage points" in out
    assert "greatest learning rate that still learns" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "batchnorm.csv", "batchnorm.png", "overfit.csv", "overfit.png",
    ]  # fmt: skip
    assert cli("batchnorm", "--stds", "a,b") == 1
    assert "--stds: got 'a,b', expected numbers separated by commas" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": 19}, "rows: got 19, expected a whole number of at least 20"),
        ({"rows": 1294}, "rows: got 1294, expected fewer than the 1294 rows of the training part"),
        ({"weight_decay": 0}, "weight_decay: got 0, expected a finite number greater than 0"),
        ({"dropout": 0}, "dropout: got 0, expected a finite number greater than 0 and below 1"),
        ({"dropout": 1}, "dropout: got 1, expected a finite number greater than 0 and below 1"),
        ({"optimizer": "sdg"}, "unknown optimizer 'sdg'. Did you mean 'sgd'?"),
        ({"epochs": 0}, "epochs: got 0"),
        ({"hidden": "100"}, "hidden: got '100', expected a sequence of sizes"),
        ({"data": "digit"}, "unknown data set 'digit'. Did you mean 'digits'?"),
        ({"backend": "nump"}, "unknown backend 'nump'"),
    ],
)
def test_what_overfit_refuses(settings, message):
    with pytest.raises(nnx.NnxError) as error:
        lab.overfit(**settings)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stds": ()}, "stds: got (), expected a list such as (0.01, 0.1)"),
        ({"stds": (-0.1,)}, "stds: got -0.1, expected a finite number of at least 0"),
        ({"lrs": (0.0,)}, "lrs: got 0.0, expected a finite number greater than 0"),
        ({"lrs": 0.1}, "lrs: got 0.1, expected a list such as (0.01, 0.1)"),
        ({"learned": 1.5}, "learned: got 1.5, expected an accuracy of at most 1"),
        ({"batch_size": 1}, "batch_size: got 1, expected a whole number of at least 2"),
        ({"activation": "rely"}, "unknown activation 'rely'. Did you mean 'relu'?"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_what_batchnorm_refuses(settings, message):
    with pytest.raises(nnx.NnxError) as error:
        lab.batchnorm(**settings)
    assert message in str(error.value)
