"""Optimizers against their formulas, in the dictionary style and on a model's arena; learning-rate schedules."""

import numpy as np
import pytest
from spies import watched

import nnx
from nnx import schedules
from nnx.optimizers import OwnOptimizer, as_optimizer


def formula(name, p, grads, lr):
    """p after all gradients, in plain NumPy, as the papers have it."""
    p, v, h, m = p.copy(), 0, 0, 0
    for t, g in enumerate(grads, 1):
        if name == "SGD":
            p = p - lr * g
        elif name == "Momentum":
            v = 0.9 * v - lr * g
            p = p + v
        elif name == "Nesterov":  # the gradient's step from where the momentum leads to, in shifted variables
            new = 0.9 * v - lr * g
            p, v = p - 0.9 * v + 1.9 * new, new
        elif name == "AdaGrad":
            h = h + g * g
            p = p - lr * g / (np.sqrt(h) + 1e-7)
        elif name == "RMSprop":
            h = 0.99 * h + 0.01 * g * g
            p = p - lr * g / (np.sqrt(h) + 1e-7)
        elif name == "Lion":
            p, m = p - lr * np.sign(0.9 * m + 0.1 * g), 0.99 * m + 0.01 * g
        elif name == "NAdam":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            ahead = 0.9 * m / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
            p = p - lr * ahead / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            if name == "AdamW":
                p = p - lr * 0.01 * p
            p = p - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p


NAMES = ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam", "AdamW", "NAdam", "Lion")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dictionary_style_follows_the_formula_in_place(name, dtype):
    rng = np.random.default_rng(0)
    start = {"W1": rng.standard_normal((6, 5)), "W2": rng.standard_normal((5, 2))}
    grads = [{k: rng.standard_normal(p.shape) for k, p in start.items()} for _ in range(5)]
    params = {k: p.astype(dtype) for k, p in start.items()}
    arrays = dict(params)
    optimizer = getattr(nnx, name)(lr=0.05)
    for g in grads:
        optimizer.update(params, {k: a.astype(dtype) for k, a in g.items()})
    for k, p in params.items():
        assert p is arrays[k]
        assert p.dtype == dtype
        expected = formula(name, start[k], [g[k] for g in grads], 0.05)
        np.testing.assert_allclose(p, expected, rtol=1e-4 if dtype == "float32" else 1e-12)
    assert set(optimizer.state) == set(optimizer.slots)
    assert all(list(arrays) == ["W1", "W2"] for arrays in optimizer.state.values())


@pytest.mark.parametrize("name", NAMES)
def test_on_a_model_it_is_one_launch(name, monkeypatch):
    model = nnx.MLP((7,), 3).build(4, dtype="float64")
    rng = np.random.default_rng(1)
    start = {k: p.copy() for k, p in model.params.items()}
    grads = {k: rng.standard_normal(p.shape) for k, p in start.items()}
    calls = []
    recording = watched("update_", before=lambda formula, hyper, p, *others, **keywords: calls.append(p.size))
    optimizer = getattr(nnx, name)(lr=0.05)
    monkeypatch.setattr("nnx.optimizers.get_backend", lambda: recording)
    for _ in range(2):
        for k, g in grads.items():
            model.grads[k][...] = g
        optimizer.update(model.params, model.grads)
    assert calls == [model.params.buffer.size] * 2
    for k, p in model.params.items():
        expected = formula("Adam" if name == "AdamW" and k.endswith("b") else name, start[k], [grads[k]] * 2, 0.05)
        np.testing.assert_allclose(p, expected, rtol=1e-12, err_msg=k)


def test_on_another_model_it_begins_anew():
    models = [nnx.MLP((5,), 3).build(4, dtype="float64", seed=seed) for seed in (0, 1)]
    optimizer = nnx.Adam()
    for model in models:
        for gradient in model.grads.values():
            gradient[...] = 1.0
        optimizer.update(model.params, model.grads)
        assert optimizer.t == 1
        assert list(optimizer.state["m"]) == list(model.params)
        for m in optimizer.state["m"].values():
            np.testing.assert_allclose(m, 0.1)
    optimizer.update(models[1].params, models[1].grads)
    assert optimizer.t == 2


def test_arrays_of_another_shape_begin_anew():
    optimizer = nnx.Momentum(lr=1.0)
    for size in (3, 3, 4):
        params = {"w": np.zeros(size)}
        optimizer.update(params, {"w": np.ones(size)})
        expected = -1.9 if optimizer.t == 2 else -1.0
        np.testing.assert_allclose(params["w"], expected)


@pytest.mark.parametrize("of_a_model", ["params", "grads"])
def test_a_dictionary_goes_with_the_arrays_of_a_model(of_a_model):
    model = nnx.Sequential(nnx.Affine(2)).build(3, dtype="float64")
    start = {k: p.copy() for k, p in model.params.items()}
    for gradient in model.grads.values():
        gradient[...] = 1.0
    params, grads = model.params, model.grads
    if of_a_model == "params":
        grads = {k: g.copy() for k, g in grads.items()}
    else:
        params = {k: p.copy() for k, p in params.items()}
    nnx.SGD(lr=0.5).update(params, grads)
    for k, p in params.items():
        np.testing.assert_array_equal(p, start[k] - 0.5)


@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 2, 2)])
def test_decoupled_decay_is_of_arrays_of_two_dimensions_or_more(shape):
    params = {"w": np.ones(shape)}
    nnx.AdamW(lr=0.1, weight_decay=0.5).update(params, {"w": np.ones(shape)})
    np.testing.assert_allclose(params["w"], 0.9 if len(shape) == 1 else 0.85)


@pytest.mark.parametrize(
    ("params", "grads", "message"),
    [
        ({"W": np.zeros(3)}, {}, "grads: there is no gradient for the parameter 'W'; got good"),
        ({"W": np.zeros(3)}, {"W": np.zeros(4)}, r"grads\['W'\]: got shape .4,. float64, expected the parameter's .3"),
        ({"W": np.zeros(3)}, {"W": np.zeros(3, "f")}, "float32, expected the parameter's .3,. float64"),
        ({"W": [0.0]}, {"W": [0.0]}, r"params\['W'\]: got builtins.list, but .* computes with numpy.ndarray"),
        ({"W": np.zeros(3)}, {"W": [0.0] * 3}, r"grads\['W'\]: got builtins.list, but .* computes with numpy.ndarray"),
        ({"W": np.zeros(3, int)}, {"W": np.zeros(3, int)}, "got dtype int64, expected float32 or float64"),
    ],
)  # fmt: skip
def test_update_refuses_before_anything_changes(params, grads, message):
    good, gradient = np.ones(2), np.ones(2)
    with pytest.raises(nnx.NnxError, match=message):
        nnx.SGD().update({"good": good, **params}, {"good": gradient, **grads})
    np.testing.assert_array_equal(good, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nnx.SGD(lr=-1), "lr: got -1, expected a finite number of at least 0"),
        (lambda: nnx.SGD(lr=float("nan")), "lr: got nan"),
        (lambda: nnx.SGD(lr="fast"), "lr: got 'fast', expected a number"),
        (lambda: nnx.SGD(lr=None), "lr: got None, expected a number"),
        (lambda: nnx.Momentum(momentum=1.0), "momentum: got 1.0, expected a finite number of at least 0 and below 1"),
        (lambda: nnx.Adam(beta2=1), "beta2: got 1"),
        (lambda: nnx.Adam(eps=0), "eps: got 0, expected a finite number greater than 0"),
        (lambda: nnx.AdamW(weight_decay=-0.1), "weight_decay: got -0.1"),
        (lambda: schedules.Step(0.1, every=0), "every: got 0, expected a whole number of at least 1"),
        (lambda: schedules.Cosine(0.1, steps=1.5), "steps: got 1.5"),
        (lambda: schedules.WarmUp(3, -1), "lr: got -1"),
        (lambda: nnx.optimizers.optimizer("adamm"), "unknown optimizer 'adamm'. Did you mean 'adam'"),
    ],
)  # fmt: skip
def test_bad_settings(make, message):
    with pytest.raises(nnx.NnxError, match=message):
        make()


DEFAULTS = {
    "SGD": {"lr": 0.01},
    "Momentum": {"lr": 0.01, "momentum": 0.9},
    "Nesterov": {"lr": 0.01, "momentum": 0.9},
    "AdaGrad": {"lr": 0.01, "eps": 1e-7},
    "RMSprop": {"lr": 0.01, "decay_rate": 0.99, "eps": 1e-7},
    "Adam": {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "AdamW": {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": None},
    "NAdam": {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "Lion": {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99},
}


@pytest.mark.parametrize("name", NAMES)
def test_settings_have_their_defaults_bounds_and_places_in_a_checkpoint(name):
    kind, defaults = getattr(nnx, name), DEFAULTS[name]
    assert kind().config() == {"optimizer": name, **defaults, "lr": {"schedule": "Constant", "lr": defaults["lr"]}}
    for setting in {*defaults} - {"lr", "weight_decay"}:
        value = 1e-3 if setting == "eps" else 0.0
        own = nnx.optimizers.from_config(kind(lr=0.25, **{setting: value}).config())
        assert (type(own), own.lr, getattr(own, setting)) == (kind, 0.25, value)
        for wrong in (0, -0.5) if setting == "eps" else (1, -0.5):
            with pytest.raises(nnx.InputError, match=f"{setting}: got {wrong}, expected a finite number"):
                kind(**{setting: wrong})


def test_weight_decay_is_the_optimizers_or_the_trainers():
    assert [nnx.SGD().decay(given) for given in (0.0, 0.5)] == [0.0, 0.5]
    assert [nnx.AdamW().decay(given) for given in (0.0, 0.5)] == [0.01, 0.5]
    assert [nnx.AdamW(weight_decay=0.5).decay(given) for given in (0.0, 0.5)] == [0.5, 0.5]
    assert nnx.AdamW(weight_decay=0.0).decay(0.0) == 0.0
    with pytest.raises(nnx.InputError, match="weight_decay: the trainer got 0.25 and AdamW"):
        nnx.AdamW(weight_decay=0.5).decay(0.25)


def test_standing_alone_no_weight_decay_is_given():
    asked = []
    optimizer = type("Asked", (nnx.SGD,), {"decay": lambda self, given: asked.append(given) or given})()
    optimizer.update({"w": np.ones(2)}, {"w": np.ones(2)})
    assert asked == [0.0]


def test_hyper_is_of_the_step():
    rate = schedules.Step(0.5, every=1, factor=0.5)
    assert nnx.SGD(rate).hyper(0) == (0.5, 0.0, 1.0)
    assert nnx.SGD(rate).hyper(1, 0.1) == (0.25, 0.1, 1.0)
    assert nnx.Lion(rate).hyper(1, 0.1) == (0.25, 0.9, 0.99, 0.025, 1.0)


def test_bound_operations_are_those_that_compute():
    calls = []
    optimizer = nnx.SGD()
    optimizer.bind(nnx.Ops(watched("update_", before=lambda *arrays, **keywords: calls.append(len(arrays)))))
    optimizer.update({"w": np.ones(2)}, {"w": np.ones(2)})
    assert len(calls) == 1


class Own:
    """An optimizer of one's own, with no rule."""

    def __init__(self, lr=None):
        if lr is not None:
            self.lr = lr

    def update(self, params, grads):
        params["w"] -= grads["w"]


class OwnRate(nnx.Optimizer):
    def rate(self, step):
        return step / 4

    def update(self, params, grads):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("own", "rate"),
    [
        (Own(2), 2.0), (Own(0.5), 0.5), (Own(np.float32(0.25)), 0.25), (Own("fast"), np.nan), (Own(), np.nan),
        (OwnRate(0.1), 0.75),
    ],
)  # fmt: skip
def test_the_learning_rate_of_an_object_of_ones_own(own, rate):
    wrapped = as_optimizer(own)
    assert isinstance(wrapped, OwnOptimizer)
    assert wrapped.own is own
    np.testing.assert_equal(wrapped.rate(3), rate)
    assert wrapped.config() == {"optimizer": type(own).__name__, "own": True}


def test_an_object_of_ones_own_updates_by_its_own():
    wrapped, params = as_optimizer(Own()), {"w": np.ones(2)}
    wrapped.update(params, {"w": np.full(2, 0.25)})
    np.testing.assert_array_equal(params["w"], 0.75)
    assert wrapped.coefficients(0) == ()
    assert wrapped.lr == 0.0


class WithRule:
    rule = staticmethod(lambda p, g: p - g)

    def update(self, params, grads):
        raise NotImplementedError


@pytest.mark.parametrize("given", [nnx.SGD(), OwnOptimizer(Own()), WithRule(), {}, 3, None])
def test_anything_else_stays_as_it_is(given):
    assert as_optimizer(given) is given


def test_schedules():
    assert [schedules.Constant(0.1)(s) for s in (0, 9)] == [0.1, 0.1]
    assert [schedules.Step(1.0, every=2, factor=0.5)(s) for s in range(5)] == [1, 1, 0.5, 0.5, 0.25]
    cosine = schedules.Cosine(1.0, steps=4, final=0.2)
    assert [cosine(s) for s in (0, 2, 4, 9)] == pytest.approx([1, 0.6, 0.2, 0.2])
    warm = schedules.WarmUp(4, cosine)
    assert [warm(s) for s in (0, 1, 3, 4, 6)] == pytest.approx([0.25, 0.5, 1, 1, 0.6])
    for schedule in (cosine, warm, schedules.Step(0.1, 3)):
        assert schedules.from_config(schedules.to_config(schedule)) == schedule


def test_lr_is_what_was_given_and_can_be_set_anew():
    optimizer = nnx.SGD(lr=0.5)
    assert optimizer.lr == 0.5
    params = {"w": np.zeros(1)}
    optimizer.update(params, {"w": np.ones(1)})
    optimizer.lr = schedules.Constant(0.25)
    optimizer.update(params, {"w": np.ones(1)})
    np.testing.assert_array_equal(params["w"], -0.75)
    assert repr(nnx.Momentum()) == "Momentum(lr=0.01, momentum=0.9)"


@pytest.mark.parametrize("backend", [s.name for s in nnx.list_backends() if s.usable])
def test_what_is_infinite_stays_so_without_weight_decay(backend):
    with nnx.use_backend(backend) as b:
        p, g = b.to_device(np.array([[np.inf, -np.inf]])), b.to_device(np.ones((1, 2)))
        nnx.SGD().update({"w": p}, {"w": g})
        np.testing.assert_array_equal(b.to_host(p), [[np.inf, -np.inf]])
