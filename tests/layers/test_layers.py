"""Layers and losses standing alone, in the way of the study notes."""

import numpy as np
import pytest

import nnx
from nnx.functions import numerical_gradient

RNG = np.random.default_rng(0)
X = RNG.standard_normal((7, 5))
W, B = RNG.standard_normal((5, 4)), RNG.standard_normal(4)

LAYERS = {
    "affine": lambda: nnx.Affine(W.copy(), B.copy()),
    "affine without bias": lambda: nnx.Affine(W.copy()),
    "relu": nnx.ReLU,
    "sigmoid": nnx.Sigmoid,
    "tanh": nnx.Tanh,
    "identity": nnx.Identity,
    "flatten": nnx.Flatten,
    "batch norm": lambda: nnx.BatchNorm(np.linspace(0.5, 2, 5), np.linspace(-1, 1, 5)),
    "dropout": lambda: nnx.Dropout(0.4, seed=1),
    "inverted dropout": lambda: nnx.Dropout(0.4, inverted=True, seed=1),
}


def rewind(layer):
    """Dropout counts its steps: back to the mask of the first."""
    if isinstance(layer, nnx.Dropout):
        layer.step = 0


@pytest.mark.parametrize("name", LAYERS)
def test_backward_is_the_gradient_of_forward(name):
    layer, x = LAYERS[name](), X.copy()
    dout = RNG.standard_normal(layer.forward(x).shape)
    rewind(layer)

    def value(_):
        rewind(layer)
        return np.sum(layer.forward(x) * dout)

    value(None)
    dx = layer.backward(dout)
    np.testing.assert_array_equal(x, X)  # the input is as it was
    grads = {k: g.copy() for k, g in layer.grads.items()}
    np.testing.assert_allclose(dx, numerical_gradient(value, x, h=1e-6), rtol=1e-6, atol=1e-7)
    for key, gradient in grads.items():
        expected = numerical_gradient(value, layer.params[key], h=1e-6)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7, err_msg=key)


@pytest.mark.parametrize("name", LAYERS)
def test_prediction_stores_nothing(name):
    layer = LAYERS[name]()
    layer.forward(X, train_flg=False)
    assert layer._saved is None
    if name != "identity":
        with pytest.raises(nnx.InputError, match=r"backward needs a forward\(x, train_flg=True\) before it"):
            layer.backward(np.ones_like(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_affine_uses_its_arrays_in_place_and_in_their_dtype(dtype):
    w, b = W.astype(dtype), B.astype(dtype)
    layer = nnx.Affine(w, b)
    assert layer.params["W"] is w
    y = layer.forward(X.astype(dtype))
    assert y.dtype == dtype
    w *= 2
    np.testing.assert_allclose(layer.forward(X.astype(dtype)), 2 * (y - b) + b, rtol=1e-5)
    layer.backward(np.ones_like(y))
    assert {str(g.dtype) for g in layer.grads.values()} == {dtype}


def test_in_a_model_the_values_of_arrays_are_copied():
    w, b = W.copy(), B.copy()
    model = nnx.Sequential(nnx.Affine(w, b)).build(5)
    np.testing.assert_array_equal(model.params["0.W"], w.astype(np.float32))
    model.params["0.W"][...] = 0
    np.testing.assert_array_equal(w, W)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nnx.Affine(0), "Affine: size: got 0, expected a whole number of at least 1"),
        (lambda: nnx.Affine(2.5), "Affine: size: got 2.5"),
        (lambda: nnx.Affine("a"), "Affine: size: got 'a'"),
        (lambda: nnx.Affine(4, B), "got a bias but no weights"),
        (lambda: nnx.Affine(B), r"W has shape \(4,\), expected two dimensions"),
        (lambda: nnx.Affine(W, B[:3]), r"b has shape \(3,\) float64, expected \(4,\) float64"),
        (lambda: nnx.Affine(W, B, bias=False), "got bias=False and an array b"),
        (lambda: nnx.Affine(W.astype(int)), "W has dtype int64, expected float32 or float64"),
        (lambda: nnx.Affine(4, init="hee"), "unknown initialiser 'hee'. Did you mean 'he'"),
        (lambda: nnx.Affine(4, init=-1.0), "init: got -1.0, expected a standard deviation of 0 or more"),
        (lambda: nnx.Affine(4, init=[1]), "init: got list, expected 'he', 'xavier' or a standard deviation"),
        (lambda: nnx.Affine(4).forward(X), r"Affine\(4\) has no parameters yet: put it into a Sequential"),
        (lambda: nnx.Affine(W).forward(X[:, :3]), r"got inputs of shape \(7, 3\), expected \(n, 5\)"),
        (lambda: nnx.Sequential(nnx.Affine(4)).build((2, 3)), r"got inputs of shape \(n, 2, 3\).*Put a Flatten\(\)"),
        (lambda: nnx.Sequential(nnx.Affine(W)).build(3), r"got inputs of 3 features, but W has shape \(5, 4\)"),
        (lambda: nnx.BatchNorm(B), "got only one of gamma and beta"),
        (lambda: nnx.BatchNorm(B, B[:2]), r"gamma of shape \(4,\) and beta of \(2,\)"),
        (lambda: nnx.BatchNorm(momentum=1), "BatchNorm: momentum: got 1, expected .* of at least 0 and below 1"),
        (lambda: nnx.BatchNorm(eps=0), "BatchNorm: eps: got 0, expected a finite number greater than 0"),
        (lambda: nnx.BatchNorm().forward(X), r"BatchNorm\(\) has no parameters yet"),
        (lambda: nnx.BatchNorm(B, B).forward(X), r"got inputs of shape \(7, 5\), expected \(n, 4\)"),
        (lambda: nnx.Sequential(nnx.BatchNorm()).build((2, 3)), r"Put a Flatten\(\)"),
        (lambda: nnx.Dropout(1), "dropout_ratio: got 1, expected a finite number of at least 0 and below 1"),
        (lambda: nnx.Dropout(float("nan")), "dropout_ratio: got nan"),
        (lambda: nnx.Dropout(0.5, seed=-1), "seed: got -1"),
    ],
)  # fmt: skip
def test_layers_refuse(make, message):
    with pytest.raises(nnx.NnxError, match=message):
        make()


@pytest.mark.parametrize("inverted", [False, True])
def test_dropout_scales(inverted):
    layer, x = nnx.Dropout(0.25, inverted, seed=5), np.ones((100, 100))
    y = layer.forward(x)
    assert abs(np.mean(y == 0) - 0.25) < 0.02
    assert np.unique(y).tolist() == [0, 4 / 3 if inverted else 1]
    np.testing.assert_array_equal(layer.forward(x, False), np.full_like(x, 1 if inverted else 0.75))
    np.testing.assert_array_equal(layer.backward(x), y)


def test_dropout_masks_change_with_the_step_and_follow_numpys_seed():
    def masks():
        np.random.seed(3)  # noqa: NPY002  what scripts of the study notes do
        layer = nnx.Dropout(0.5)
        return layer.forward(np.ones((9, 9))), layer.forward(np.ones((9, 9)))

    (a, b), (c, d) = masks(), masks()
    np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(b, d)
    assert not np.array_equal(a, b)


def test_batch_norm_statistics():
    layer = nnx.BatchNorm(np.ones(5), np.zeros(5), momentum=0.75)
    y = layer.forward(X)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=0), 1, rtol=1e-4)
    np.testing.assert_allclose(layer.running["running_mean"], 0.25 * X.mean(axis=0))
    np.testing.assert_allclose(layer.running["running_var"], 0.75 + 0.25 * X.var(axis=0))
    before = {name: a.copy() for name, a in layer.running.items()}
    layer.forward(X[:1])  # one row has no variance
    for name, array in before.items():
        np.testing.assert_array_equal(layer.running[name], array)
    mean, var = before["running_mean"], before["running_var"]
    np.testing.assert_allclose(layer.forward(X, False), (X - mean) / np.sqrt(var + 1e-5))


def test_reprs_are_constructor_calls():
    layers = (nnx.Affine(3), nnx.Affine(3, bias=False, init="he"), nnx.ReLU(), nnx.Dropout(0.2, inverted=True))
    assert list(map(repr, layers)) == [
        "Affine(3)", "Affine(3, bias=False, init='he')", "ReLU()", "Dropout(0.2, inverted=True)"
    ]  # fmt: skip
    assert repr(nnx.BatchNorm(momentum=0.5)) == "BatchNorm(momentum=0.5)"


LOSSES = {
    "labels": (nnx.SoftmaxCrossEntropy, np.arange(7) % 5),
    "one-hot": (nnx.SoftmaxCrossEntropy, np.eye(5)[np.arange(7) % 5]),
    "probabilities": (nnx.SoftmaxCrossEntropy, RNG.dirichlet(np.ones(5), 7)),
    "squares": (nnx.MeanSquaredError, RNG.standard_normal((7, 5))),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss_backward_is_the_gradient_of_forward(name):
    kind, t = LOSSES[name]
    loss, y = kind(), X.copy()
    loss.forward(y, t)
    gradient = loss.backward().copy()
    expected = numerical_gradient(lambda y: loss.forward(y, t), y, h=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
    loss.forward(y, t)
    np.testing.assert_allclose(loss.backward(3.0), 3 * gradient)


def test_loss_values():
    y = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    assert nnx.SoftmaxCrossEntropy().forward(y, np.array([0, 2])) == pytest.approx(-np.log(0.5 * 0.8) / 2)
    assert nnx.MeanSquaredError().forward(np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros((2, 2))) == pytest.approx(7.5)
    assert nnx.MeanSquaredError().forward(np.array([[1.0], [3.0]]), np.array([0, 0])) == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nnx.SoftmaxCrossEntropy().forward(X, np.array([5] * 7)), "t: got the label 5 in row 0"),
        (lambda: nnx.SoftmaxCrossEntropy().forward(X, np.arange(5)), "t: got 5 rows, expected 7"),
        (lambda: nnx.SoftmaxCrossEntropy().forward(X, np.zeros((7, 1), int)), r"pass t.ravel\(\)"),
        (lambda: nnx.SoftmaxCrossEntropy().forward(X, np.full((7, 5), np.nan)), "expected probabilities"),
        (lambda: nnx.MeanSquaredError().forward(X, np.zeros(7)), r"targets of shape \(7,\), expected \(n, 5\)"),
        (lambda: nnx.SoftmaxCrossEntropy().backward(), "backward needs a forward"),
    ],
)  # fmt: skip
def test_losses_refuse(call, message):
    with pytest.raises(nnx.NnxError, match=message):
        call()


# Layers of one's own with randomness ----------------------------------------------------------------------------------


class Noise(nnx.Layer):
    """x + std * noise in training, uniform in [-0.5, 0.5)."""

    fields = ("std",)
    random = True
    capturable = True

    def __init__(self, std=0.1):
        super().__init__()
        self.std = std

    def forward(self, x, train_flg=True):
        return x + self.std * (self.uniform(x.shape) - 0.5) if train_flg else x

    def backward(self, dout):
        return dout


def noisy(backend="numpy", **settings):
    model = nnx.Sequential(nnx.Affine(5), Noise(1.0), nnx.Dropout(0.2), Noise(0.5), nnx.Affine(2))
    return nnx.Trainer(model, nnx.SGD(0.1), backend=backend, seed=4, **settings)


def test_noise_is_of_the_seed_the_layer_and_the_step_on_every_backend():
    x, t = np.random.default_rng(0).normal(size=(30, 3)).astype("f"), np.arange(30) % 2
    histories = [noisy(name).fit(x, t, epochs=3, batch_size=10, verbose=False)["loss"] for name in ("numpy", "numba")]
    np.testing.assert_allclose(*histories, rtol=1e-5)
    one, other = noisy(), noisy()
    assert float(one.step(x, t)) == float(other.step(x, t))
    other.steps = 5
    assert float(one.step(x, t)) != float(other.step(x, t))


def test_noise_goes_on_bit_for_bit_where_a_checkpoint_left_it(tmp_path):
    x, t = np.random.default_rng(0).normal(size=(30, 3)).astype("f"), np.arange(30) % 2
    settings = {"batch_size": 10, "verbose": False}
    whole = noisy().fit(x, t, epochs=4, **settings)
    half = noisy()
    half.fit(x, t, epochs=2, checkpoint=tmp_path / "half", **settings)
    loaded = nnx.Trainer.load(tmp_path / "half", backend="numpy", model=noisy().model)
    assert loaded.fit(x, t, epochs=4, **settings) == whole


def test_noise_alone_draws_anew_at_every_call_by_numpys_seed():
    np.random.seed(3)  # noqa: NPY002
    layer, x = Noise(), np.zeros((4, 5), np.float32)
    first, second = layer.forward(x), layer.forward(x)
    assert (first != second).any()
    assert (np.abs(first) <= 0.05).all()
    np.random.seed(3)  # noqa: NPY002
    np.testing.assert_array_equal(Noise().forward(x), first)
    np.testing.assert_array_equal(layer.forward(x, False), x)
