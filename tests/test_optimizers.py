"""Optimizers against their formulas, in the dictionary style and on a model's arena; learning-rate schedules."""

import numpy as np
import pytest
from spies import watched

import nnx
from nnx import schedules


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
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            if name == "AdamW":
                p = p - lr * 0.01 * p
            p = p - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p


NAMES = ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam", "AdamW")


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


def test_adamw_leaves_biases_undecayed():
    params, grads = {"b": np.ones(3)}, {"b": np.zeros(3)}
    nnx.AdamW(lr=0.1, weight_decay=0.5).update(params, grads)
    np.testing.assert_array_equal(params["b"], 1)


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


@pytest.mark.parametrize(
    ("params", "grads", "message"),
    [
        ({"W": np.zeros(3)}, {}, "grads: there is no gradient for the parameter 'W'; got good"),
        ({"W": np.zeros(3)}, {"W": np.zeros(4)}, r"grads\['W'\]: got shape .4,. float64, expected the parameter's .3"),
        ({"W": np.zeros(3)}, {"W": np.zeros(3, "f")}, "float32, expected the parameter's .3,. float64"),
        ({"W": [0.0]}, {"W": [0.0]}, r"params\['W'\]: got builtins.list, but .* computes with numpy.ndarray"),
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
