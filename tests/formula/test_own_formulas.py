"""Users' own activations, losses, optimizers and schedules: fused, saved by a registered name, resumed bit for bit."""

import numpy as np
import pytest

import nnx
from nnx import formula, testing
from nnx._support.named import FUNCTIONS
from nnx.datasets import digits
from nnx.formula import maximum, sigmoid, sign, where
from nnx.layers import LAYERS
from nnx.losses import LOSSES
from nnx.optimizers import OPTIMIZERS
from nnx.schedules import SCHEDULES

BACKENDS = [s.name for s in nnx.list_backends() if s.usable and s.name in ("numpy", "numba")]


def swish(x):
    return x * sigmoid(x)


class Leaky(nnx.Activation):
    fields = ("slope",)

    def __init__(self, slope=0.1):
        super().__init__()
        self.slope = slope

    def function(self, x):
        return where(x > 0, x, self.slope * x)


class OwnHuber(nnx.ElementwiseLoss):
    settings = ("delta",)

    def __init__(self, delta=1.0):
        super().__init__()
        self.delta = delta

    def function(self, z, t, delta):
        d = formula.abs(z - t)
        return where(d < delta, 0.5 * d * d, delta * (d - 0.5 * delta))


class Signed(nnx.Optimizer):
    """In the manner of Lion (Chen et al. 2023)."""

    slots = ("m",)
    settings = ("beta1", "beta2")
    decoupled = True

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.99):
        super().__init__(lr)
        self.beta1, self.beta2 = beta1, beta2

    @staticmethod
    def rule(p, g, m, lr, beta1, beta2):
        return p - lr * sign(m + (1 - beta1) * (g - m)), m + (1 - beta2) * (g - m)


def halving(step):
    return 0.002 * 0.5 ** (step / 20)


@pytest.fixture(autouse=True)
def _nothing_stays_registered():
    tables = LAYERS, LOSSES, OPTIMIZERS, SCHEDULES, FUNCTIONS
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


def trainer(**settings):
    model = nnx.Sequential(
        nnx.Flatten(), nnx.Affine(20), nnx.Activation(swish), nnx.Affine(12), Leaky(0.2), nnx.Affine(10)
    )
    return nnx.Trainer(model, Signed(halving), OwnHuber(0.5), weight_decay=0.01, **settings)


def data():
    digit = digits().take(range(200))
    return digit.inputs(), np.eye(10, dtype=np.float32)[digit.t]


@pytest.mark.parametrize("backend", BACKENDS)
def test_they_train_fused_and_are_resumed_bit_for_bit(backend, tmp_path):
    for part in (swish, Leaky, OwnHuber, Signed, halving):
        assert nnx.register(part) is part
    whole, part = trainer(backend=backend), trainer(backend=backend)
    whole.fit(*data(), epochs=4, batch_size=50, verbose=False)
    assert whole.history["loss"][-1] < whole.history["loss"][0]
    part.fit(*data(), epochs=2, batch_size=50, verbose=False)
    part.save(tmp_path / "c")
    loaded = nnx.Trainer.load(tmp_path / "c", backend=backend)
    assert repr(loaded.loss) == "OwnHuber(delta=0.5)"
    assert loaded.optimizer.lr is halving
    loaded.fit(*data(), epochs=4, batch_size=50, verbose=False)
    for name, value in whole.model.state_dict().items():
        np.testing.assert_array_equal(loaded.model.state_dict()[name], value)
    explanation = whole.model.ops.explain()
    assert {"activation", "activation_backward", "affine", "loss", "update_"} <= set(explanation.fused)
    assert explanation.declined == {}


def test_every_backend_learns_the_same():
    losses = []
    for backend in BACKENDS:
        own = trainer(backend=backend, dtype="float64")
        own.fit(*data(), epochs=2, verbose=False)
        losses.append(own.history["loss"])
    for other in losses[1:]:
        np.testing.assert_allclose(other, losses[0], rtol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_checks_pass_what_is_right(backend):
    testing.check_activation(swish, backend=backend)
    testing.check_activation(Leaky(0.3), backend=backend)
    testing.check_loss(OwnHuber(0.7), backend=backend)
    testing.check_optimizer(Signed(), backend=backend)


def test_the_checks_find_what_is_wrong():
    class WrongSlope(Leaky):
        def derivative(self, x, y):
            return where(x > 0, 1.0, 2 * self.slope)

    class WrongGradient(OwnHuber):
        def derivative(self, z, t, delta):
            return t - z

    class TooFew(Signed):
        def coefficients(self, step):
            return (self.rate(step),)

    for check, part, message in (
        (testing.check_activation, WrongSlope(), "activation_backward.* central differences"),
        (testing.check_loss, WrongGradient(), "loss.* central differences"),
        (testing.check_optimizer, TooFew(), r"coefficients\(0\) gave .*, expected finite numbers for lr, beta1, beta2"),
    ):
        with pytest.raises(AssertionError, match=message):
            check(part, backend="numpy")


def test_a_derivative_of_the_value_lets_it_be_fused():
    def stages(activation):
        return len(nnx.Sequential(nnx.Affine(3), activation).build(4).stages)

    assert stages(nnx.Activation(swish)) == 2
    assert stages(nnx.Activation(lambda x: maximum(x, 0.0), lambda x, y: where(y > 0, 1.0, 0.0))) == 1
    assert stages(nnx.Activation(lambda x: 1 / (1 + x * x))) == 2


def test_names(tmp_path):
    assert nnx.register(swish, "my_swish") is swish
    assert nnx.Activation("my_swish").config() == {
        "layer": "Activation", "function": "my_swish",
    }  # fmt: skip
    assert repr(nnx.Activation(swish)) == "Activation(swish)"
    assert repr(nnx.Activation(lambda x: x)) == "Activation(activation)"
    nnx.register(OwnHuber)
    assert nnx.losses.from_config({"loss": "OwnHuber", "delta": 0.25}).delta == 0.25
    nnx.register(Signed)
    assert nnx.optimizers.optimizer("signed", lr=0.5).lr == 0.5


def test_a_loss_of_ones_own_runs_by_its_own_methods():
    class Absolute(nnx.Loss):
        def forward(self, y, t):
            self.y, self.t = y, t
            return np.abs(y - t).sum() / len(y)

        def backward(self, dout=1.0):
            return np.sign(self.y - self.t) / len(self.y)

    class Duck:
        forward, backward = Absolute.forward, Absolute.backward

    histories = []
    for loss in (Absolute(), Duck()):
        own = nnx.Trainer(nnx.MLP((9,), 10), loss=loss, backend="numpy")
        histories.append(own.fit(*data(), epochs=2, verbose=False)["loss"])
    assert histories[0][1] < histories[0][0]
    assert histories[0] == histories[1]


class NotesSGD:
    """The study notes' own."""

    def __init__(self, lr=0.01):
        self.lr, self.calls = lr, 0

    def update(self, params, grads):
        self.calls += 1
        for key in params:
            params[key] -= self.lr * grads[key]


class Anew(nnx.Optimizer):
    """It sets arrays in place of changing them."""

    def update(self, params, grads):
        for key in params:
            params[key] = params[key] - 0.01 * grads[key]


@pytest.mark.parametrize("backend", ["numpy", pytest.param("numba", marks=pytest.mark.long)])
@pytest.mark.parametrize("make", [NotesSGD, lambda: Anew(0.01)])
def test_an_optimizer_of_ones_own_runs_by_its_own_update(make, backend):
    histories = []
    for optimizer in (make(), nnx.SGD(0.01)):
        settings = {"weight_decay": 0.1, "clip_norm": 0.5, "backend": backend, "dtype": "float64"}
        own = nnx.Trainer(nnx.MLP((9,), 10, batch_norm=True), optimizer, **settings)
        histories.append(own.fit(*data(), epochs=2, verbose=False)["loss"])
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-12)


def test_an_optimizer_of_ones_own_is_spared_what_is_not_finite():
    own = NotesSGD()
    trained = nnx.Trainer(nnx.MLP((3,), 2), own, nnx.MeanSquaredError(), backend="numpy")
    trained.step(np.full((4, 2), np.nan, np.float32), np.ones((4, 2), np.float32))
    assert own.calls == 0
    trained.step(np.ones((4, 2), np.float32), np.ones((4, 2), np.float32))
    assert own.calls == 1
    assert repr(trained.optimizer) == "NotesSGD(...)"


class NoRule(nnx.Optimizer):
    def __init__(self):
        super().__init__(0.1)


class OneResult(Signed):
    @staticmethod
    def rule(p, g, m, lr):
        return p - lr * g


class Branches(nnx.ElementwiseLoss):
    def function(self, z, t):
        return z - t if z > t else t - z


class Nothing(nnx.Loss):
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nnx.Activation, r"Activation: got no function; write nnx\.Activation\(lambda x"),
        (lambda: nnx.Activation(3), "Activation: function is 3, expected a function or a registered name"),
        (lambda: nnx.Activation("swosh"), "unknown function 'swosh'"),
        (lambda: nnx.Activation(lambda x: x if x > 0 else 0), "a formula cannot branch on a value"),
        (lambda: nnx.Activation(np.sin), "NumPy's sin got a value of a formula"),
        (lambda: nnx.Trainer(nnx.MLP((3,), 2), NoRule()).build((4,)), r"NoRule must define rule\(p, g, \*state"),
        (
            lambda: nnx.Trainer(nnx.MLP((3,), 2), OneResult()).build((4,)),
            "'oneresult': got 1 results, expected 2",
        ),
        (lambda: Branches().formula, "a formula cannot branch on a value"),
        (lambda: Nothing().forward(np.ones((2, 2)), np.ones((2, 2))), r"Nothing must define forward\(y, t\) and"),
        (lambda: nnx.SGD(lambda step: -1.0).rate(3), r"lr\(3\): got -1.0, expected a finite number of at least 0"),
        (lambda: nnx.register(3), "register: got 3, expected a class derived from nnx.Layer"),
        (lambda: nnx.register(lambda x: x), "register: got the name '<lambda>', expected one such as 'swish'"),
        (lambda: nnx.register(type("ReLU", (nnx.Layer,), {})), "register: 'ReLU' is .* already; choose another name"),
        (lambda: nnx.register(Leaky, "Other"), "register: got the name 'Other' for the class Leaky"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(nnx.NnxError, match=message):
        make()


def test_what_has_no_name_cannot_be_saved(tmp_path):
    own = nnx.Trainer(nnx.Sequential(nnx.Affine(3), nnx.Activation(lambda x: x * 2)), nnx.SGD())
    own.build((4,))
    with pytest.raises(nnx.CheckpointError, match=r"has no name that a checkpoint could keep; .* nnx\.register"):
        own.save(tmp_path / "c")
