"""What initial weights make of activations and trainings: the study notes' claims, in numbers."""

import math
from itertools import pairwise

import numpy as np
import pytest

import nnx
from nnx import InputError, InputTypeError
from nnx.lab import _init

pytestmark = pytest.mark.slow

BACKENDS = ["numpy", "numba"]
BRIEF = {"epochs": 1, "batch_size": 100}


@pytest.fixture(params=BACKENDS, scope="module")
def before(request):
    """All initialisations, mostly before training."""
    return nnx.lab.init(backend=request.param, **BRIEF)


def stds(result, activation, init):
    return [layer.std for layer in result.starts[activation, init].layers]


def shares(layer):
    return layer.counts / layer.counts.sum()


def test_sigmoid_std_1_pushes_activations_to_0_and_1(before):
    for layer in before.starts["sigmoid", "std 1"].layers:
        assert shares(layer)[[0, -1]].sum() > 0.45  # within 0.02 of the ends
        assert shares(layer)[[0, 1, 2, 3, 4, -5, -4, -3, -2, -1]].sum() > 0.65
        assert layer.std > 0.4
        assert layer.saturated > 0.4
    assert before.starts["sigmoid", "std 1"].flags() == {"saturating": 1}


def test_sigmoid_std_001_concentrates_them_at_one_half(before):
    layers = before.starts["sigmoid", "std 0.01"].layers
    for layer in layers:
        assert abs(layer.mean - 0.5) < 0.01
        assert shares(layer)[20:30].sum() > 0.99  # 0.4 to 0.6
    assert all(layer.std < 0.02 for layer in layers[1:])
    assert before.starts["sigmoid", "std 0.01"].flags()["vanishing"] == 2


def test_sigmoid_xavier_keeps_their_deviation_alive(before):
    values = stds(before, "sigmoid", "xavier")
    assert all(0.09 < std < 0.25 for std in values)
    assert values[-1] > 5 * stds(before, "sigmoid", "std 0.01")[-1]
    assert "vanishing" not in before.starts["sigmoid", "xavier"].flags()
    # What remains by then is differences of the units, not of the rows: which is why these layers learn so slowly.
    assert before.starts["sigmoid", "xavier"].layers[-1].rows_std < 0.01
    assert "rows alike" in before.starts["sigmoid", "xavier"].flags()


def test_relu_he_keeps_it_std_001_vanishes_std_1_explodes(before):
    assert all(0.5 < std < 1.3 for std in stds(before, "relu", "he"))
    assert before.starts["relu", "he"].flags() == {}
    small = stds(before, "relu", "std 0.01")
    assert all(after < 0.15 * std for std, after in pairwise(small))
    assert small[-1] < 1e-5
    xavier = stds(before, "relu", "xavier")
    assert xavier[-1] < 0.5 * xavier[0]
    assert "vanishing" in before.starts["relu", "std 0.01"].flags()
    assert "exploding" in before.starts["relu", "std 1"].flags()


def test_tanh_xavier_is_sound_and_std_1_saturates(before):
    assert before.starts["tanh", "xavier"].flags() == {}
    assert before.starts["tanh", "std 1"].flags() == {"saturating": 1}
    assert before.starts["tanh", "std 0.01"].flags() == {"vanishing": 2}


def test_zero_and_constant_are_identical(before):
    for activation in ("sigmoid", "tanh", "relu"):
        for init in ("zero", "constant"):
            assert before.starts[activation, init].flags()["identical"] == 1
        for init in ("std 1", "std 0.01", "xavier", "he"):
            assert "identical" not in before.starts[activation, init].flags()
    assert before.starts["relu", "zero"].flags() == {"identical": 1, "dead": 1, "vanishing": 1}
    assert "dead" not in before.starts["sigmoid", "zero"].flags()


def test_statistics_are_those_of_the_activations():
    y = np.array([[0.0, 2.0, 5.0], [0.0, 0.0, 1.0]])
    layer = _init._measure(y, (y > 0) * 1.0, "relu")
    assert (layer.mean, layer.std) == (y.mean(), y.std())
    assert layer.rows_std == pytest.approx((0 + 1 + 2) / 3)
    assert layer.dead == pytest.approx(1 / 3)
    assert (layer.counts.sum(), layer.beyond) == (5, pytest.approx(1 / 6))
    assert layer.flags == ("dead",)
    assert _init._measure(np.full((3, 4), 7.0), np.ones((3, 4)), "relu").flags == (
        "identical",
        "vanishing",
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_units_stay_identical_through_training(backend, activation, monkeypatch):
    models, original = [], _init.train

    def train(trainer, *arguments, **settings):
        initial = trainer.model.state_dict()
        curve = original(trainer, *arguments, **settings)
        models.append((initial, trainer.model.state_dict()))
        return curve

    monkeypatch.setattr(_init, "train", train)
    result = nnx.lab.init(
        backend=backend,
        inits=["zero", "constant", "he"],
        activations=[activation],
        constant=0.05,
        layers=3,
        units=20,
        epochs=10,
    )
    for name, (initial, trained) in zip(["zero", "constant", "he"], models, strict=True):
        broken = name == "he"
        assert all(s is not broken for s in result.starts[activation, name].still_identical)
        hidden = [key for key in initial if key.endswith(".W")][:-1]
        assert len(hidden) == 3
        for key in hidden:
            columns = trained[key]
            spread = np.ptp(columns, axis=1).max() / max(np.abs(columns).max(), 1e-30)
            assert spread > 0.1 if broken else spread < 1e-4
        if name != "zero" or activation == "sigmoid":  # there the network did move, its units together
            assert any(np.abs(trained[key] - initial[key]).max() > 1e-4 for key in hidden)


@pytest.mark.parametrize("backend", BACKENDS)
def test_relu_std_001_hardly_learns_where_he_and_xavier_do(backend):
    result = nnx.lab.init(backend=backend, inits=[0.01, "xavier", "he"], activations=["relu"], epochs=12)
    small, xavier, he = (result.starts["relu", name].curve for name in ("std 0.01", "xavier", "he"))
    assert abs(small.loss[-1] - math.log(10)) < 0.01
    assert max(small.val_accuracy) < 0.2
    for curve in (xavier, he):
        assert min(curve.loss) < 0.1  # the least: single epochs may jump
        assert max(curve.val_accuracy) > 0.93


def test_constant_weights_are_the_constant_and_biases_zero():
    model = _init._network("constant", -0.3, "tanh", 2, 4, 3, (5,), 0, "numpy")
    assert {name: (array.min(), array.max()) for name, array in model.state_dict().items()} == {
        name: (np.float32(-0.3),) * 2 if name.endswith("W") else (0, 0) for name in model.params
    }


def test_a_divergence_is_a_result(before):
    assert "the loss became" in before.starts["relu", "std 1"].curve.diverged
    lines = str(before).splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("  std 1 ") and "diverged" in line)
    assert lines[row + 1].strip() == "exploding (2)"
    assert "  exploding: the spread grows out of bounds" in lines
    assert "identical (1), still after training" in str(before)


def test_save(tmp_path):
    result = nnx.lab.init(inits=["zero", 1, "he"], activations=["tanh", "relu"], layers=2, backend="numpy", **BRIEF)
    files = result.save(tmp_path)
    names = ["init.csv", "init-histograms.csv", "init-curves.csv", "init.png"]
    assert [file.name for file in files] == names
    assert len(files[0].read_text().splitlines()) == 1 + 6 * 2
    assert len(files[1].read_text().splitlines()) == 1 + 6 * 2 * 50
    assert files[0].read_text().splitlines()[0].startswith("activation,init,layer,mean,std,rows_std,saturated,dead")
    assert files[3].stat().st_size > 50_000


def test_activations_that_overflow_are_measured():
    result = nnx.lab.init(inits=[1000.0], activations=["relu"], layers=16, units=10, backend="numpy", **BRIEF)
    start = result.starts["relu", "std 1000"]
    assert start.flags()["exploding"] == 1
    assert not np.isfinite(start.layers[-1].std)
    with nnx._support.plots.style():
        assert result.draw().axes


def test_one_unit_is_not_called_identical():
    result = nnx.lab.init(inits=["he"], activations=["identity"], units=1, layers=1, backend="numpy", **BRIEF)
    start = result.starts["identity", "he"]
    assert (start.flags(), start.still_identical) == ({}, (False,))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"inits": ["hee"]}, InputError, "unknown initialisation 'hee'. Did you mean 'he'?"),
        ({"inits": []}, InputTypeError, "inits: got \\[\\], expected a list such as \\['zero', 0.01, 'he'\\]."),
        ({"inits": [-1.0]}, InputError, "inits: got -1.0, expected a finite number of at least 0."),
        ({"inits": [None]}, InputTypeError, "inits: got None, expected a number."),
        ({"activations": ["rel"]}, InputError, "unknown activation 'rel'. Did you mean 'relu'?"),
        ({"activations": "relu"}, InputTypeError, "activations: got 'relu', expected a list"),
        ({"constant": math.inf}, InputError, "constant: got inf, expected a finite number."),
        ({"optimizer": "adm"}, InputError, "unknown optimizer 'adm'. Did you mean 'adam'?"),
        ({"lr": 0}, InputError, "lr: got 0, expected a finite number greater than 0."),
        ({"rows": 1}, InputError, "rows: got 1, expected a whole number of at least 2."),
        ({"layers": 0}, InputError, "layers: got 0"),
        ({"data": (np.zeros((4, 2)), np.array([0, 1, 0, 1]))}, nnx.DatasetError, "data: holds 4 rows, too few"),
    ],
)
def test_refusals_come_before_the_work(settings, error, message, monkeypatch):
    monkeypatch.setattr(nnx.Trainer, "fit", None)
    with pytest.raises(error, match=message):
        nnx.lab.init(**settings)
