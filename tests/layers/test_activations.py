"""Activations: their values and derivatives in textbook form, their settings, and the names of one's own."""

import math

import numpy as np
import pytest

import nnx


def normal(x):
    """The normal distribution's function and density at x."""
    return (1 + math.erf(x / math.sqrt(2))) / 2, math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def logistic(x):
    return 1 / (1 + math.exp(-x))


ACTIVATIONS = {
    "relu": (nnx.ReLU(), lambda x: (x, 1) if x > 0 else (0, 0)),
    "sigmoid": (nnx.Sigmoid(), lambda x: (logistic(x), logistic(x) * logistic(-x))),
    "tanh": (nnx.Tanh(), lambda x: (math.tanh(x), 1 / math.cosh(x) ** 2)),
    "leaky relu": (nnx.LeakyReLU(), lambda x: (x, 1) if x > 0 else (0.01 * x, 0.01)),
    "leaky relu, own slope": (nnx.LeakyReLU(0.25), lambda x: (x, 1) if x > 0 else (0.25 * x, 0.25)),
    "leaky relu without slope": (nnx.LeakyReLU(0), lambda x: (x, 1) if x > 0 else (0, 0)),
    "elu": (nnx.ELU(), lambda x: (x, 1) if x > 0 else (math.expm1(x), math.exp(x))),
    "elu, own alpha": (nnx.ELU(0.5), lambda x: (x, 1) if x > 0 else (math.expm1(x) / 2, math.exp(x) / 2)),
    "elu without alpha": (nnx.ELU(0), lambda x: (x, 1) if x > 0 else (0, 0)),
    "gelu": (nnx.GELU(), lambda x: (x * normal(x)[0], normal(x)[0] + x * normal(x)[1])),
    "silu": (nnx.SiLU(), lambda x: (x * logistic(x), logistic(x) * (1 + x * logistic(-x)))),
    "softplus": (nnx.Softplus(), lambda x: (math.log1p(math.exp(x)), logistic(x))),
    "a constant": (nnx.Activation(lambda x: 3.0), lambda x: (3, 0)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_and_derivative(name):
    layer, textbook = ACTIVATIONS[name]
    layer.bind(nnx.Ops(nnx.get_backend("numpy")))
    x = np.array([[-20.0, -2.0, -0.5], [0.0, 1e-3, 0.5], [1.0, 2.0, 20.0]])
    y, slope = np.array([textbook(v) for v in x.flat]).T.reshape(2, 3, 3)
    np.testing.assert_allclose(layer.forward(x), y, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(layer.backward(2 * np.ones_like(x)), 2 * slope, rtol=1e-12, atol=1e-15)
    with pytest.raises(nnx.InputError, match="got a gradient of shape"):
        layer.backward(np.ones(3))


@pytest.mark.parametrize("make", [nnx.LeakyReLU, nnx.ELU])
@pytest.mark.parametrize("setting", [-0.5, math.nan, math.inf])
def test_settings_are_of_at_least_0(make, setting):
    with pytest.raises(nnx.InputError, match=f"got {setting}, expected a finite number of at least 0"):
        make(setting)


@pytest.mark.parametrize(
    ("given", "name"), [("f", "f"), ("swish_", "swish_"), ("_own", "activation"), ("größer", "activation")]
)
def test_ones_own_has_the_name_of_its_function(given, name):
    def function(x):
        return 2 * x

    function.__name__ = given
    layer = nnx.Activation(function)
    assert layer.name == layer.formula.name == layer.formula_backward.name == name
