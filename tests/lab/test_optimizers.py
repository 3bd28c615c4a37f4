"""The optimizers on the bowl and on data."""

import numpy as np
import pytest

import nnx
from nnx import InputError, InputTypeError

pytestmark = pytest.mark.slow

BACKENDS = ["numpy", "numba"]
QUICK = {"epochs": 1, "hidden": (10,), "batch_size": 100}


@pytest.fixture(params=BACKENDS, scope="module")
def result(request):
    return nnx.lab.optimizers(backend=request.param, **QUICK)


def test_sgd_zigzags_on_the_bowl(result):
    assert list(result.descents) == list(nnx.optimizers.OPTIMIZERS)
    for descent in result.descents.values():
        assert tuple(descent.points[0]) == (-7, 2)
        distances = np.hypot(*descent.points.T)
        assert distances[-1] <= 0.1 < distances[:-1].min()
    sgd, momentum = result.descents["sgd"], result.descents["momentum"]
    assert sgd.length >= 2 * momentum.length
    assert sgd.length >= 2 * max(d.length for name, d in result.descents.items() if name != "sgd")
    assert (np.diff(np.sign(sgd.points[:, 1])) != 0).all()  # from side to side at every step


def test_paths_are_the_formulas(result):
    k = np.arange(result.descents["sgd"].steps + 1)
    expected = np.column_stack([-7 * (1 - 0.95 / 10) ** k, 2 * (1 - 1.9) ** k])
    np.testing.assert_allclose(result.descents["sgd"].points, expected)
    p, v = np.array([-7.0, 2.0]), np.zeros(2)
    for point in result.descents["momentum"].points:
        np.testing.assert_allclose(point, p)
        v = 0.9 * v - 0.1 * np.array([p[0] / 10, 2 * p[1]])
        p = p + v
    np.testing.assert_array_equal(result.descents["adam"].points, result.descents["adamw"].points)
    assert result.descents["sgd"].length == pytest.approx(np.hypot(*np.diff(expected, axis=0).T).sum())


@pytest.mark.parametrize("backend", BACKENDS)
def test_trainings_begin_with_the_same_weights_and_take_the_same_batches(backend, monkeypatch):
    weights, batches = {}, {}

    def update(self, step, n, batch, original=nnx.Trainer.advance, **settings):
        name = type(self.optimizer).__name__
        weights.setdefault(name, self.model.state_dict())
        batches.setdefault(name, []).append(np.array(batch[0]))
        return original(self, step, n, batch, **settings)

    monkeypatch.setattr(nnx.Trainer, "advance", update)
    result = nnx.lab.optimizers(backend=backend, epochs=2, hidden=(10,), batch_size=400, seed=7)
    assert len(weights) == len(result.curves) == len(nnx.optimizers.OPTIMIZERS)
    for name in weights:
        for key, array in weights["SGD"].items():
            np.testing.assert_array_equal(weights[name][key], array)
        assert len(batches[name]) == 2 * 4
        for one, other in zip(batches[name], batches["SGD"], strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.array_equal(batches["SGD"][0], batches["SGD"][4])  # the epochs differ
    assert len({curve.loss for curve in result.curves.values()}) == len(
        nnx.optimizers.OPTIMIZERS
    )  # and so do the optimizers


def test_rates_are_settable_and_a_divergence_is_a_result():
    result = nnx.lab.optimizers(
        backend="numpy",
        optimizers=["SGD", "adam", "sgd"],
        lr={"Sgd": 1e30},
        bowl_lr={"sgd": 1e308, "adam": 0.001},
        steps=300,
        **QUICK | {"epochs": 3},
    )
    assert list(result.curves) == list(result.descents) == ["sgd", "adam"]
    assert result.rates == {"sgd": 1e30, "adam": 0.001}
    assert "the loss became" in result.curves["sgd"].diverged
    assert len(result.curves["adam"].loss) == len(result.curves["adam"].val_accuracy) == 3
    assert [d.end for d in result.descents.values()] == ["diverged", "on its way"]
    assert result.descents["adam"].steps == 300
    assert str(result).splitlines()[5].split()[-3:] == ["diverged", "1e+30", "diverged"]
    with nnx._support.plots.style():
        assert result.draw().axes


def test_one_rate_serves_all_of_them():
    result = nnx.lab.optimizers(backend="numpy", optimizers=["sgd", "adam"], lr=0.02, bowl_lr=0.2, **QUICK)
    assert result.rates == {"sgd": 0.02, "adam": 0.02}
    assert [d.rate for d in result.descents.values()] == [0.2, 0.2]


@pytest.mark.parametrize(("old", "new"), [("names", "optimizers"), ("rates", "lr"), ("bowl_rates", "bowl_lr")])
def test_names_of_before_tell_the_present_ones(old, new):
    with pytest.raises(InputTypeError, match=f"{old}: is called {new} now; write optimizers\\({new}=...\\)."):
        nnx.lab.optimizers(**{old: ["sgd"]})


def test_save(tmp_path):
    result = nnx.lab.optimizers(backend="numpy", **QUICK)
    files = result.save(tmp_path)
    assert [file.name for file in files] == ["optimizers.csv", "optimizers-bowl.csv", "optimizers.png"]
    lines = files[0].read_text().splitlines()
    assert lines[0] == "optimizer,learning_rate,epoch,loss,val_accuracy"
    assert len(lines) == 1 + len(nnx.optimizers.OPTIMIZERS)
    assert len(files[1].read_text().splitlines()) == 1 + sum(len(d.points) for d in result.descents.values())


def test_interrupting_one_training_ends_the_experiment(monkeypatch):
    def fit(self, *arguments, **settings):
        self.interrupted = True

    monkeypatch.setattr(nnx.Trainer, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        nnx.lab.optimizers(**QUICK)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"optimizers": ["sgdd"]}, InputError, "unknown optimizer 'sgdd'. Did you mean 'sgd'?"),
        ({"optimizers": []}, InputTypeError, "optimizers: got \\[\\], expected a list such as \\['sgd', 'adam'\\]."),
        ({"optimizers": "sgd"}, InputTypeError, "optimizers: got 'sgd', expected a list"),
        ({"lr": {"adm": 1}}, InputError, "unknown optimizer 'adm'. Did you mean 'adam'?"),
        ({"lr": {"sgd": 0}}, InputError, "lr\\['sgd'\\]: got 0, expected a finite number greater than 0."),
        ({"lr": [0.1]}, InputTypeError, "lr: got \\[0.1\\], expected a learning rate, or some by name"),
        ({"optimizers": ["sgd"], "lr": {"adam": 1}}, InputError, "lr: got a rate of adam, which is not among"),
        ({"bowl_lr": {"sgd": -1}}, InputError, "bowl_lr\\['sgd'\\]: got -1"),
        ({"distance": 0}, InputError, "distance: got 0"),
        ({"start": (0.05, 0.05)}, InputError, "start: got \\(0.05, 0.05\\), expected a point farther than 0.1 from"),
        ({"start": 3}, InputTypeError, "start: got 3, expected two numbers"),
        ({"epochs": 0}, InputError, "epochs: got 0"),
        ({"hidden": (0,)}, InputError, "hidden: got 0"),
        ({"seed": -1}, InputError, "seed: got -1"),
        ({"data": "digit"}, InputError, "unknown data set 'digit'. Did you mean 'digits'?"),
    ],
)
def test_refusals_come_before_the_work(settings, error, message, monkeypatch):
    monkeypatch.setattr(nnx.Trainer, "fit", None)
    with pytest.raises(error, match=message):
        nnx.lab.optimizers(**settings)
