"""The study notes' functions, numerical gradients, and the check of a model's own."""

import numpy as np
import pytest

import nnx
from nnx import functions as F  # noqa: N812
from nnx.datasets import digits

X = np.array([[-800.0, -1.0, 0.0, 2.0], [3.0, 0.5, -0.5, 800.0]])


@pytest.fixture(autouse=True, params=[s.name for s in nnx.list_backends() if s.usable])
def backend(request):
    with nnx.use_backend(request.param) as b:
        yield b


def test_values():
    np.testing.assert_array_equal(F.step(X), [[0, 0, 0, 1], [1, 1, 0, 1]])
    np.testing.assert_array_equal(F.relu(X), [[0, 0, 0, 2], [3, 0.5, 0, 800]])
    np.testing.assert_allclose(F.sigmoid([-1.0, 0, 2]), [0.26894142, 0.5, 0.88079708], rtol=1e-8)
    np.testing.assert_array_equal(F.sigmoid(X)[:, ::3].ravel()[[0, 3]], [0, 1])  # no overflow
    a = np.array([0.3, 2.9, 4.0])
    np.testing.assert_allclose(F.softmax(a), np.exp(a) / np.exp(a).sum(), rtol=1e-14)
    np.testing.assert_allclose(F.softmax(X).sum(axis=1), 1)
    np.testing.assert_allclose(F.softmax(a + 1000), F.softmax(a), rtol=1e-10)


def test_losses():
    y, t = np.array([0.1, 0.05, 0.6, 0.0, 0.25]), np.array([0, 0, 1, 0, 0])
    assert F.mean_squared_error(y, t) == pytest.approx(0.5 * (0.01 + 0.0025 + 0.16 + 0.0625))
    assert F.mean_squared_error([y, y], [t, t]) == pytest.approx(0.5 * (0.01 + 0.0025 + 0.16 + 0.0625))
    assert F.cross_entropy_error(y, t) == pytest.approx(-np.log(0.6 + 1e-7))
    assert F.cross_entropy_error([y, y], [2, 4]) == pytest.approx(-(np.log(0.6 + 1e-7) + np.log(0.25 + 1e-7)) / 2)
    assert F.cross_entropy_error(y, [2]) == F.cross_entropy_error(y, t)
    np.testing.assert_array_equal(F.one_hot([1, 0], 3), [[0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_are_kept(dtype):
    x = X.astype(dtype)
    assert {F.relu(x).dtype, F.sigmoid(x).dtype, F.softmax(x).dtype} == {np.dtype(dtype)}
    assert F.sigmoid([1, 2]).dtype == np.float32


def test_numerical_gradient_restores_x():
    x = np.array([3.0, 4.0, -2.0])
    np.testing.assert_allclose(F.numerical_gradient(lambda x: np.sum(x**2), x), [6, 8, -4], rtol=1e-7)
    np.testing.assert_array_equal(x, [3, 4, -2])

    def fails(x):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        F.numerical_gradient(fails, x)
    np.testing.assert_array_equal(x, [3, 4, -2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.relu("a"), "x: got dtype .*, expected numbers"),
        (lambda: F.softmax(np.zeros((2, 2, 2))), r"x: got shape \(2, 2, 2\), expected \(c,\) or \(n, c\)"),
        (lambda: F.softmax([]), "not empty"),
        (lambda: F.mean_squared_error([1.0], [1.0, 2.0]), r"t: got shape \(2,\), expected y's \(1,\)"),
        (lambda: F.cross_entropy_error([[0.5, 0.5]], [2]), r"t: got the label 2 in row 0, expected labels in 0\.\.1"),
        (lambda: F.cross_entropy_error([[0.5, 0.5]], [1, 0, 0]), r"expected \(1,\) labels or one-hot rows"),
        (
            lambda: F.numerical_gradient(np.sum, np.array([1, 2])),
            "x: got int64, expected an array of float32 or float64",
        ),
        (lambda: F.numerical_gradient(np.sum, [1.0]), "x: got list"),
        (lambda: F.numerical_gradient(np.sum, X, h=0), "h: got 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(nnx.NnxError, match=message):
        call()


MODELS = {
    "relu": {},
    "tanh, batch norm, dropout": {"activation": "tanh", "batch_norm": True, "dropout": 0.3},
    "sigmoid": {"activation": "sigmoid"},
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("built", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_gradient_check_passes_and_changes_nothing(name, built):
    data = digits().take(range(30))
    model = nnx.MLP((12, 9), 10, **MODELS[name])
    if built:
        model.build((8, 8))
        before = model.state_dict()
    errors = F.gradient_check(model, data.inputs(), data.t)
    assert max(errors.values()) < 1e-5
    assert model.built is built
    if built:
        assert list(errors) == list(model.params)
        assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items())


def test_gradient_check_finds_a_wrong_backward(monkeypatch):
    def wrong(self, formula, dy, x, y, *, out=None, db=None):
        out = np.multiply(dy, y, out=out)
        if db is not None:
            np.sum(out, axis=0, out=db)
        return out

    class Wrong(type(nnx.get_backend())):
        activation_backward = wrong

    data = digits().take(range(30))
    model = nnx.MLP((12,), 10, activation="tanh").build((8, 8), backend=Wrong())
    errors = F.gradient_check(model, data.inputs(), data.t)
    assert errors["3.W"] < 1e-5
    assert errors["1.W"] > 0.1


def test_what_is_not_finite_stays_so_without_a_warning():
    for values in ([np.inf], [[1.0, np.inf]]):
        assert np.isnan(F.softmax(values)).any()
    assert np.isnan(F.mean_squared_error([np.inf], [np.inf]))
    assert F.mean_squared_error([1e200], [0.0]) == np.inf
