"""nnx.book's networks, optimizers and trainer as scripts see them: names, attributes, printed lines, gradients."""

import re

import numpy as np
import pytest

import nnx
from nnx.book.layers import Affine, Relu, SoftmaxWithLoss
from nnx.book.multi_layer_net import MultiLayerNet
from nnx.book.multi_layer_net_extend import MultiLayerNetExtend
from nnx.book.optimizer import SGD, Adam
from nnx.book.trainer import Trainer

DIGITS = nnx.datasets.digits()
X, T = DIGITS.inputs("float64").reshape(len(DIGITS), -1), DIGITS.t
DATA = X[:200], T[:200], X[200:300], T[200:300]


@pytest.fixture(params=["numpy", "numba"], autouse=True)
def backend(request, of_any_size):
    with nnx.use_backend(request.param):
        yield request.param


def test_float32_images_give_the_same_as_their_float64_values():
    np.random.seed(1)
    network = MultiLayerNet(64, [20], 10)
    x = X[:30].astype(np.float32)
    single, double = network.gradient(x, T[:30]), network.gradient(x.astype(float), T[:30])
    for key, gradient in single.items():
        assert gradient.dtype == np.float64
        np.testing.assert_allclose(gradient, double[key], rtol=1e-12, atol=1e-15)


def test_printed_lines(capsys):
    np.random.seed(0)
    trainer = Trainer(MultiLayerNet(64, [10], 10), *DATA, epochs=2, evaluate_sample_num_per_epoch=50)
    trainer.train()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "train loss", "=== epoch", "train loss", "train loss", "=== epoch", "train loss",
        "=============== Final Test Accuracy ===============", "test acc",
    ]  # fmt: skip
    assert [float(line.removeprefix("train loss:")) for line in lines if line[:5] == "train"] == trainer.train_loss_list
    assert re.fullmatch(r"=== epoch:1, train acc:0\.\d+, test acc:0\.\d+ ===", lines[1])
    assert trainer.train_acc_list[0] * 50 == pytest.approx(round(trainer.train_acc_list[0] * 50))


def test_names_arguments_and_attributes():
    np.random.seed(0)
    network = MultiLayerNetExtend(64, [5, 6], 10, use_batchnorm=True, use_dropout=True)
    assert list(network.layers) == [
        "Affine1", "BatchNorm1", "Activation_function1", "Dropout1",
        "Affine2", "BatchNorm2", "Activation_function2", "Dropout2", "Affine3",
    ]  # fmt: skip
    grads = network.gradient(X[:9], T[:9])
    assert sorted(grads) == sorted(network.params)
    assert all(grads[key].shape == p.shape for key, p in network.params.items())
    affine, norm = network.layers["Affine2"], network.layers["BatchNorm2"]
    assert affine.W is network.params["W2"]
    assert affine.dW is grads["W2"]
    assert norm.dgamma is grads["gamma2"]
    assert affine.x.shape == (9, 5)
    assert network.layers["Activation_function2"].mask.shape == (9, 6)
    assert network.layers["Dropout2"].mask.dtype == bool
    assert norm.xn.shape == norm.xc.shape == (9, 6)
    np.testing.assert_allclose(norm.xn.std(axis=0), 1, rtol=1e-3)
    assert network.last_layer.y.shape == (9, 10)
    assert isinstance(network.last_layer.loss, np.float64)
    kept = {key: g.copy() for key, g in grads.items()}
    network.gradient(X[9:18], T[9:18])
    for key, value in kept.items():
        np.testing.assert_array_equal(grads[key], value)  # gradients that a script has kept stay as they are


@pytest.mark.parametrize("t", [T[:4], np.eye(10)[T[:4]]], ids=["labels", "one-hot"])
def test_gradient_is_the_numerical_one(t):
    np.random.seed(3)
    for network in (
        MultiLayerNet(64, [4], 10, weight_decay_lambda=0.1),
        MultiLayerNetExtend(64, [4], 10, activation="sigmoid", use_batchnorm=True),
    ):
        analytic, numerical = network.gradient(X[:4], t), network.numerical_gradient(X[:4], t)
        for key, gradient in numerical.items():
            np.testing.assert_allclose(analytic[key], gradient, rtol=1e-4, atol=1e-6, err_msg=key)


def test_a_network_may_be_changed_and_overridden():
    np.random.seed(0)
    network = MultiLayerNet(64, [5], 10)

    class Doubled:
        def forward(self, x):
            return 2 * x

        def backward(self, dout):
            return 2 * dout

    x, before = X[:6], MultiLayerNet.predict(network, X[:6])
    network.layers["Doubled"] = Doubled()
    np.testing.assert_allclose(network.predict(x), 2 * before)
    for key, gradient in network.numerical_gradient(x, T[:6]).items():
        np.testing.assert_allclose(network.gradient(x, T[:6])[key], gradient, atol=1e-6)

    class Shifted(MultiLayerNet):
        def loss(self, x, t):
            return super().loss(x, t) + 100

    assert Shifted(64, [5], 10).loss(x, T[:6]) > 100


def test_optimizers_keep_float32_and_take_mixed_dtypes():
    params = {"W": np.ones((2, 2), np.float32)}
    Adam().update(params, {"W": np.ones((2, 2))})
    assert params["W"].dtype == np.float32
    np.testing.assert_allclose(params["W"], 0.999, rtol=1e-6)
    with pytest.raises(KeyError, match="W"):
        SGD().update(params, {})


def test_a_network_built_by_a_script_from_layers():
    np.random.seed(2)
    params = {"W1": 0.1 * np.random.randn(64, 8), "b1": np.zeros(8)}
    params |= {"W2": 0.1 * np.random.randn(8, 10), "b2": np.zeros(10)}
    layers = [Affine(params["W1"], params["b1"]), Relu(), Affine(params["W2"], params["b2"])]
    last = SoftmaxWithLoss()
    losses = []
    for _ in range(60):
        y = X[:100]
        for layer in layers:
            y = layer.forward(y)
        losses.append(last.forward(y, T[:100]))
        dout = last.backward()
        for layer in reversed(layers):
            dout = layer.backward(dout)
        for i, layer in ((1, layers[0]), (2, layers[2])):
            params[f"W{i}"] -= 0.5 * layer.dW
            params[f"b{i}"] -= 0.5 * layer.db
    assert dout.shape == (100, 64)
    assert losses[-1] < 0.5 * losses[0]


def test_np_is_the_namespace_of_the_backend_in_force(backend):
    from nnx import np as xp

    assert xp is nnx.get_backend(backend).xp
    assert isinstance(Relu().forward(xp.asarray([[-1.0, 2.0]])), type(xp.zeros(1)))
