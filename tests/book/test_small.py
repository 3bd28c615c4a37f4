"""What is small costs no more than in plain NumPy: nobody is asked for the backend, and no environment is read."""

import os

import numpy as np
import pytest

from nnx.book import functions, layers, optimizer


@pytest.fixture
def nobody_is_asked(monkeypatch):
    def asked(*_args):
        raise AssertionError

    for module in (functions, layers, optimizer):
        monkeypatch.setattr(module, "active_ops", asked)
    monkeypatch.setattr(layers, "script_dtype", asked)
    monkeypatch.setattr(os.environ, "get", asked)


@pytest.mark.parametrize("backend", ["as it comes"], indirect=True)
def test_a_step_on_tiny_arrays(backend, nobody_is_asked):
    rng = np.random.default_rng(0)
    x, t = rng.random((3, 784)).astype(np.float32), np.eye(10)[[1, 2, 3]]
    params = {"W1": rng.random((784, 50)), "b1": np.zeros(50), "W2": rng.random((50, 10)), "b2": np.zeros(10)}
    first, relu = layers.Affine(params["W1"], params["b1"]), layers.Relu()
    dropout, second = layers.Dropout(0.2), layers.Affine(params["W2"], params["b2"])
    last, sigmoid = layers.SoftmaxWithLoss(), layers.Sigmoid()
    for targets in (t, t.argmax(axis=1)):
        h = sigmoid.forward(dropout.forward(relu.forward(first.forward(x))))
        assert last.forward(second.forward(h), targets) > 0
        dh = sigmoid.backward(second.backward(last.backward()))
        first.backward(relu.backward(dropout.backward(dh)))
        first.backward_to_parameters(np.ones((3, 50)))
    for make in (optimizer.SGD, optimizer.Momentum, optimizer.Nesterov, optimizer.AdaGrad, optimizer.Adam):
        make().update({"b": params["b1"]}, {"b": first.db})
    functions.softmax_loss(x[:, :10], t)
    functions.sum_squared_error(x[:, :10], t)
    functions.relu_grad(x)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float16])
def test_other_dtypes_come_out_as_numpys(kind):
    x = np.arange(20_000).reshape(-1, 10).astype(kind)
    with np.errstate(all="ignore"):
        for ours, wanted in (
            (functions.sigmoid(x), 1 / (1 + np.exp(-x))),
            (functions.relu(x), np.maximum(x, 0)),
            (functions.softmax(x), np.exp(x - x.max(axis=1, keepdims=True))),
            (layers.Sigmoid().forward(x), 1 / (1 + np.exp(-x))),
            (layers.Relu().forward(x), np.maximum(x, 0)),
        ):
            assert ours.dtype == wanted.dtype
        np.testing.assert_array_equal(functions.sigmoid(x), 1 / (1 + np.exp(-x)))
