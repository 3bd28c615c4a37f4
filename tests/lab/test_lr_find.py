"""`nnx.lab.lr_find`: the suggestion is one to train with, the given network stays as it is."""

import csv

import numpy as np
import pytest
from command_line import nnx_command

import nnx
from nnx import lab
from nnx.lab import _lr_find as parts

pytestmark = pytest.mark.slow

BACKENDS = ["numpy", "numba"]
SPLITS = nnx.datasets.load("digits", seed=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_the_suggestion_is_one_to_train_with(optimizer, backend):
    found = lab.lr_find(SPLITS, nnx.MLP((50,), 10), optimizer, backend=backend)
    assert found.lr[0] == 1e-6
    assert found.suggestion < found.lowest < found.lr[-1]
    accuracies = []
    for lr in (found.suggestion / 100, found.suggestion):
        trainer = nnx.Trainer(nnx.MLP((50,), 10), nnx.optimizers.optimizer(optimizer, lr=lr), backend=backend)
        trainer.fit(SPLITS.train, epochs=5, batch_size=32, verbose=False)
        accuracies.append(trainer.model.accuracy(SPLITS.validation))
    assert accuracies[1] > 0.93
    assert accuracies[1] > accuracies[0] + 0.05


def test_all_backends_suggest_the_same():
    numpy, numba = (lab.lr_find(SPLITS, optimizer="sgd", backend=backend, steps=100) for backend in BACKENDS)
    assert numpy.loss[:60] == pytest.approx(numba.loss[:60], rel=1e-4)
    assert numpy.suggestion == pytest.approx(numba.suggestion, rel=0.2)


def test_it_stops_by_its_own_rule_and_grows_geometrically():
    found = lab.lr_find(SPLITS, optimizer="sgd", steps=100, lowest=1e-4, highest=100)
    assert found.lr[1:] / found.lr[:-1] == pytest.approx(10 ** (6 / 99))
    means = np.convolve(found.loss, np.ones(5) / 5, "valid")
    over = means > 4 * np.minimum.accumulate(means)
    assert not over[:-1].any()
    assert found.diverged
    assert len(found.lr) < 100


def test_the_steepest_fall_of_a_known_curve():
    lr = np.logspace(-6, 1, 200)
    at = np.log10(lr)
    smoothed = 2.3 - 2 / (1 + np.exp(-4 * (at + 2))) + np.where(at > -0.5, (at + 0.5) * 3, 0)
    assert parts._steepest(lr, smoothed) == pytest.approx(0.01, rel=0.1)
    assert parts._steepest(lr, np.linspace(2.3, 2.2, 200)) is None
    assert parts._steepest(lr, np.linspace(2.3, 5, 200)) is None
    noisy = parts._smooth(at, smoothed + 0.05 * np.random.default_rng(0).standard_normal(200), 0.15)
    assert np.log10(parts._steepest(lr, noisy)) == pytest.approx(-2, abs=0.3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_trainer_stays_as_it_is(backend):
    def trainer():
        made = nnx.Trainer(
            nnx.MLP((20,), 10, batch_norm=True, dropout=0.1), nnx.Adam(lr=0.003), weight_decay=1e-3, backend=backend
        )
        made.fit(SPLITS.train, epochs=1, verbose=False)
        return made

    looked_at, twin = trainer(), trainer()
    found = lab.lr_find(SPLITS, looked_at, steps=50)
    assert looked_at.optimizer.lr == 0.003
    assert looked_at.steps == twin.steps
    for one in (looked_at, twin):
        one.fit(SPLITS.train, epochs=2, verbose=False)
    ours, theirs = looked_at.model.state_dict(), twin.model.state_dict()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert looked_at.history == twin.history
    fresh = lab.lr_find(SPLITS, nnx.MLP((20,), 10), steps=50, backend=backend)
    assert found.loss[0] < 0.8 * fresh.loss[0]  # it begins with the parameters that were given


def test_an_unbuilt_model_stays_unbuilt():
    model, optimizer = nnx.MLP((20,), 10), nnx.SGD(lr=nnx.schedules.Step(0.1, every=5))
    lab.lr_find(SPLITS, model, optimizer, steps=20)
    assert not model.built
    assert optimizer.lr == nnx.schedules.Step(0.1, every=5)


def test_no_suggestion_where_nothing_falls():
    found = lab.lr_find(SPLITS, lowest=1e-9, highest=1e-8, steps=30)
    assert found.suggestion is None
    assert not found.diverged
    assert "no suggestion: the loss fell from" in found.summary()
    assert "the end of the range: the loss never diverged" in found.summary()
    found.plot()


def test_files(tmp_path):
    found = lab.lr_find(SPLITS, optimizer="sgd", steps=60)
    table, figure = found.save(tmp_path)
    assert (table.name, figure.name) == ("lr-find.csv", "lr-find.png")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [float(row["loss"]) for row in rows] == found.loss.tolist()
    assert [int(row["step"]) for row in rows] == list(range(1, len(found.lr) + 1))
    assert f"suggestion: lr = {found.suggestion:.2g}" in str(found)


def test_command(tmp_path, capsys):
    assert nnx_command("lab", "lr-find", "--hidden", "20", "--out", tmp_path / "out") == 0
    assert "suggestion: lr = " in capsys.readouterr().out
    assert (tmp_path / "out" / "lr-find.png").is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lowest": 0}, "lowest: got 0, expected a finite number greater than 0"),
        ({"lowest": 1.0, "highest": 0.1}, "highest: got 0.1, expected more than lowest, 1.0"),
        ({"steps": 9}, "steps: got 9, expected a whole number of at least 10"),
        ({"smoothing": 0}, "smoothing: got 0, expected a finite number greater than 0"),
        ({"model": "mlp"}, "model: got 'mlp', expected an nnx.Sequential or an nnx.Trainer"),
        ({"optimizer": "adm"}, "unknown optimizer 'adm'. Did you mean 'adam'?"),
        ({"optimizer": 0.1}, "optimizer: got 0.1, expected a name or an nnx.Optimizer"),
        ({"optimizer": "sgd", "lowest": 1e7, "highest": 1e8}, "lowest: the loss diverges within 5 steps at 1e+07"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"weight_decay": -1}, "weight_decay: got -1"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(nnx.NnxError) as error:
        lab.lr_find(SPLITS, **settings)
    assert message in str(error.value)
