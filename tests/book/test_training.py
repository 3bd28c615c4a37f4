"""Training with nnx.book against the book's formulas in plain NumPy, from the same seed: equal learning curves."""

from itertools import pairwise

import numpy as np
import pytest

import nnx
from nnx.book.multi_layer_net import MultiLayerNet
from nnx.book.multi_layer_net_extend import MultiLayerNetExtend
from nnx.book.optimizer import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop
from nnx.book.trainer import Trainer

RATES = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "adagrad": 0.05, "rmsprop": 0.005, "adam": 0.005}
DIGITS = nnx.datasets.digits()
X, T = DIGITS.inputs("float64").reshape(len(DIGITS), -1), DIGITS.t
DATA = X[:200], T[:200], X[200:300], T[200:300]
EPS, BN_EPS = 1e-7, 1e-6


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class Network:
    """W1, b1, ... with the activation, optionally normalized before it and dropped out after it."""

    def __init__(self, sizes, activation="relu", std="he", decay=0.0, batch_norm=False, dropout=None):
        self.depth, self.activation, self.decay = len(sizes) - 1, activation, decay
        self.batch_norm, self.dropout = batch_norm, dropout
        self.p, self.running = {}, {}
        for i, (rows, columns) in enumerate(pairwise(sizes), 1):
            scale = {"he": np.sqrt(2 / rows), "xavier": np.sqrt(1 / rows)}.get(std, std)
            self.p[f"W{i}"] = scale * np.random.standard_normal((rows, columns))
            self.p[f"b{i}"] = np.zeros(columns)
        for i, size in enumerate(sizes[1:-1] if batch_norm else [], 1):
            self.p[f"gamma{i}"], self.p[f"beta{i}"] = np.ones(size), np.zeros(size)
            self.running[i] = np.zeros(size), np.zeros(size)

    def scores(self, x, train):
        h, saved = x.astype(float), []
        for i in range(1, self.depth + 1):
            z, keep = h @ self.p[f"W{i}"] + self.p[f"b{i}"], {"x": h}
            if i < self.depth:
                if self.batch_norm:
                    mean, var = (z.mean(axis=0), z.var(axis=0)) if train else self.running[i]
                    if train:
                        self.running[i] = tuple(
                            0.9 * a + 0.1 * b for a, b in zip(self.running[i], (mean, var), strict=True)
                        )
                    keep["std"] = np.sqrt(var + BN_EPS)
                    keep["xn"] = (z - mean) / keep["std"]
                    z = self.p[f"gamma{i}"] * keep["xn"] + self.p[f"beta{i}"]
                z = keep["y"] = np.where(z > 0, z, 0) if self.activation == "relu" else sigmoid(z)
                if self.dropout is not None:
                    keep["mask"] = np.random.random_sample(z.shape) > self.dropout if train else 1 - self.dropout
                    z = z * keep["mask"]
            saved.append(keep)
            h = z
        return h, saved

    def loss(self, x, t, train=False):
        y = softmax(self.scores(x, train)[0])
        squares = sum(np.sum(self.p[f"W{i}"] ** 2) for i in range(1, self.depth + 1))
        return -np.mean(np.log(y[np.arange(len(t)), t] + EPS)) + self.decay / 2 * squares

    def accuracy(self, x, t):
        return np.mean(self.scores(x, False)[0].argmax(axis=1) == t)

    def gradient(self, x, t):
        z, saved = self.scores(x, True)
        d, g = (softmax(z) - np.eye(z.shape[1])[t]) / len(t), {}
        for i in range(self.depth, 0, -1):
            keep = saved[i - 1]
            if i < self.depth:
                if self.dropout is not None:
                    d = d * keep["mask"]
                d = d * ((keep["y"] > 0) if self.activation == "relu" else keep["y"] * (1 - keep["y"]))
                if self.batch_norm:
                    g[f"gamma{i}"], g[f"beta{i}"] = np.sum(d * keep["xn"], axis=0), d.sum(axis=0)
                    d = self.p[f"gamma{i}"] * d
                    d = (d - d.mean(axis=0) - keep["xn"] * np.mean(d * keep["xn"], axis=0)) / keep["std"]
            g[f"W{i}"] = keep["x"].T @ d + self.decay * self.p[f"W{i}"]
            g[f"b{i}"] = d.sum(axis=0)
            d = d @ self.p[f"W{i}"].T
        return g


class Update:
    """One optimizer's rule by its name, with the state of every parameter."""

    def __init__(self, rule, lr):
        self.rule, self.lr, self.t, self.state = rule, lr, 0, {}

    def __call__(self, p, g):
        self.t += 1
        for key in p:
            a, b = self.state.get(key, (0.0, 0.0))
            step, a, b = self.step(a, b, g[key])
            self.state[key] = a, b
            p[key] = p[key] + step

    def step(self, a, b, g):
        lr = self.lr
        match self.rule:
            case "sgd":
                return -lr * g, a, b
            case "momentum":
                v = 0.9 * a - lr * g
                return v, v, b
            case "nesterov":
                return 0.81 * a - 1.9 * lr * g, 0.9 * a - lr * g, b
            case "adagrad":
                h = a + g**2
                return -lr * g / (np.sqrt(h) + EPS), h, b
            case "rmsprop":
                h = 0.99 * a + 0.01 * g**2
                return -lr * g / (np.sqrt(h) + EPS), h, b
            case "adam":
                m, v = 0.9 * a + 0.1 * g, 0.999 * b + 0.001 * g**2
                rate = lr * np.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
                return -rate * m / (np.sqrt(v) + EPS), m, v


def train(network, update, data, steps, batch, every):
    """Losses after each update on its own batch, drawn with replacement, and the accuracies as epochs begin."""
    x, t, x_test, t_test = data
    losses, train_acc, test_acc = [], [], []
    for i in range(steps):
        rows = np.random.choice(len(x), batch)
        update(network.p, network.gradient(x[rows], t[rows]))
        losses.append(network.loss(x[rows], t[rows]))
        if i % every == 0:
            train_acc.append(network.accuracy(x, t))
            test_acc.append(network.accuracy(x_test, t_test))
    return losses, train_acc, test_acc


def curves(make, rule, data=DATA, **kwargs):
    np.random.seed(7)
    trainer = Trainer(
        make(64, [20, 15], 10, **kwargs), *data, epochs=8, mini_batch_size=40, optimizer=rule,
        optimizer_param={"lr": RATES[rule.lower()]}, verbose=False,
    )  # fmt: skip
    trainer.train()
    return trainer, (trainer.train_loss_list, trainer.train_acc_list, trainer.test_acc_list)


def expected(rule, **kwargs):
    np.random.seed(7)
    return train(Network((64, 20, 15, 10), **kwargs), Update(rule, RATES[rule]), DATA, 40, 40, 5)


def assert_same(found, wanted):
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-8, atol=1e-8)
    assert found[1:] == wanted[1:]


@pytest.mark.parametrize("rule", RATES)
def test_learning_curves_of_every_optimizer(rule):
    trainer, found = curves(MultiLayerNet, rule.upper())
    assert len(found[0]) == 40
    assert len(found[1]) == 8
    assert_same(found, expected(rule))
    assert found[0][-1] < 0.7 * found[0][0]
    assert all(isinstance(value, np.float64) for values in found for value in values)
    assert trainer.network.params["W1"].dtype == np.float64


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        ({"activation": "sigmoid", "weight_init_std": "Xavier"}, {"activation": "sigmoid", "std": "xavier"}),
        ({"weight_init_std": 0.1, "weight_decay_lambda": 0.01}, {"std": 0.1, "decay": 0.01}),
        ({"use_batchnorm": True}, {"batch_norm": True}),
        ({"use_dropout": True, "dropout_ration": 0.3}, {"dropout": 0.3}),
        (
            {"use_dropout": True, "use_batchnorm": True, "weight_decay_lambda": 0.01},
            {"dropout": 0.5, "batch_norm": True, "decay": 0.01},
        ),
    ],
)
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_learning_curves_of_every_network(rule, ours, reference):
    assert_same(curves(MultiLayerNetExtend, rule, **ours)[1], expected(rule, **reference))


def test_float32_if_asked_for(monkeypatch):
    monkeypatch.setenv("NNX_SCRIPT_DTYPE", "float32")
    data = tuple(a.astype(np.float32) if a.ndim == 2 else a for a in DATA)
    for settings in ({}, {"use_batchnorm": True, "use_dropout": True, "weight_decay_lambda": 0.01}):
        trainer, found = curves(MultiLayerNetExtend, "adam", data=data, **settings)
        assert {str(a.dtype) for a in trainer.network.params.values()} == {"float32"}
        assert {str(a.dtype) for a in trainer.network.gradient(data[0], np.eye(10)[data[1]]).values()} == {"float32"}
        assert all(isinstance(loss, np.float32) for loss in found[0])
        monkeypatch.setenv("NNX_SCRIPT_DTYPE", "")
        np.testing.assert_allclose(found[0], curves(MultiLayerNetExtend, "adam", **settings)[1][0], rtol=1e-3)
        monkeypatch.setenv("NNX_SCRIPT_DTYPE", "float32")
    monkeypatch.setenv("NNX_SCRIPT_DTYPE", "float16")
    with pytest.raises(nnx.InputError, match="NNX_SCRIPT_DTYPE: got 'float16', expected float32 or float64"):
        MultiLayerNet(64, [10], 10)


OPTIMIZERS = {
    "sgd": SGD, "momentum": Momentum, "nesterov": Nesterov, "adagrad": AdaGrad, "rmsprop": RMSprop, "adam": Adam
}  # fmt: skip


@pytest.mark.parametrize("rule", RATES)
def test_optimizers_update_in_place_and_keep_their_state(rule):
    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((4, 3)), "b": rng.standard_normal(3), "scalar": 2.0}
    reference, update = {key: np.array(p) for key, p in params.items()}, Update(rule, 0.1)
    w, optimizer = params["W"], OPTIMIZERS[rule](lr=0.1)
    for _ in range(4):
        grads = {"W": rng.standard_normal((4, 3)), "b": rng.standard_normal(3), "scalar": 0.5, "other": None}
        optimizer.update(params, grads)
        update(reference, grads)
        for key, value in reference.items():
            np.testing.assert_allclose(params[key], value, rtol=1e-12)
    assert params["W"] is w
    assert np.ndim(params["scalar"]) == 0
    for slot in optimizer.slots:
        assert getattr(optimizer, slot)["W"].shape == (4, 3)
    if rule == "adam":
        assert optimizer.iter == 4
    if rule == "momentum":
        np.testing.assert_allclose(optimizer.v["W"], update.state["W"][0])


@pytest.mark.parametrize("rule", RATES)
def test_an_array_that_cannot_hold_the_result_is_an_error_as_in_numpy(rule):
    for dtype in (int, bool, np.uint8):
        params = {"W": np.ones(2, dtype)}
        with pytest.raises(TypeError, match="Cannot cast ufunc"):
            OPTIMIZERS[rule](lr=0.1).update(params, {"W": np.full(2, 0.5)})
        assert params["W"].tolist() == [1, 1]


@pytest.mark.parametrize("rule", RATES)
def test_a_dtype_is_kept_and_a_gradient_of_another_one_is_cast(rule):
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal(20), rng.standard_normal(20)
    wanted = {"W": w.copy()}
    OPTIMIZERS[rule](lr=0.1).update(wanted, {"W": g})
    for dtype, rtol in ((np.float32, 1e-6), (np.float16, 5e-3)):
        params = {"W": w.astype(dtype)}
        OPTIMIZERS[rule](lr=0.1).update(params, {"W": g})
        assert params["W"].dtype == dtype
        np.testing.assert_allclose(params["W"], wanted["W"], rtol=rtol, atol=rtol)


def test_a_large_array_of_numpys_is_updated_on_the_backend(backend):
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal((100, 100)), rng.standard_normal((100, 100))
    for rule in RATES:
        params, reference = {"W": w.copy()}, {"W": w.copy()}
        array, update, optimizer = params["W"], Update(rule, 0.1), OPTIMIZERS[rule](lr=0.1)
        for _ in range(2):
            optimizer.update(params, {"W": g})
            update(reference, {"W": g})
        assert params["W"] is array
        np.testing.assert_allclose(params["W"], reference["W"], rtol=1e-10)
