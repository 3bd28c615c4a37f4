"""Activation functions and the collapse of linear layers."""

import numpy as np
import pytest

import nnx
from nnx import InputError, InputTypeError


@pytest.fixture(params=["numpy", "numba"], scope="module")
def result(request):
    return nnx.lab.activations(units=30, depth=4, seed=3, backend=request.param)


def test_functions_and_derivatives_are_the_textbooks(result):
    x = result.x
    assert 0 not in x
    sigmoid, tanh = 1 / (1 + np.exp(-x)), np.tanh(x)
    expected = {
        "step": (x > 0, 0 * x),
        "sigmoid": (sigmoid, sigmoid * (1 - sigmoid)),
        "tanh": (tanh, 1 - tanh**2),
        "relu": (np.maximum(x, 0), x > 0),
    }
    assert list(result.functions) == list(expected)
    for name, (y, derivative) in expected.items():
        function = result.functions[name]
        np.testing.assert_allclose(function.y, y, atol=1e-12)
        np.testing.assert_allclose(function.derivative, derivative, atol=1e-12)
        assert function.error < 1e-9


def test_linear_layers_collapse_and_others_do_not(result):
    assert result.linear.shape == result.single.shape == result.relu.shape == result.closest.shape == (400, 5)
    assert result.linear.std() > 0.5
    assert result.difference < 1e-12 * np.abs(result.linear).max() * 100
    assert 0.1 < result.unexplained < 1
    assert np.abs(result.relu - result.closest).max() > 0.1


def test_tables_and_summary(result):
    tables = result.tables()
    assert list(tables) == ["activations", "activations-collapse"]
    columns, rows = tables["activations"]
    assert columns == ("function", "x", "y", "derivative", "numerical")
    assert len(list(rows)) == 4 * 400
    columns, rows = tables["activations-collapse"]
    assert (columns[:3], len(list(rows))) == (("row", "output", "linear"), 2000)
    assert "4 linear layers of 30 units give what one layer gives" in str(result)


def test_the_derivative_is_measured_not_assumed(result):
    f = result.functions["tanh"]
    assert type(f)(f.y, f.derivative * 1.1, f.numerical).error > 0.05


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"limit": 0}, InputError, "limit: got 0, expected a finite number greater than 0."),
        ({"depth": 1}, InputError, "depth: got 1, expected a whole number of at least 2."),
        ({"units": "x"}, InputTypeError, "units: got 'x', expected a whole number of at least 1."),
        ({"backend": "numbaa"}, InputError, "unknown backend 'numbaa'. Did you mean 'numba'?"),
    ],
)
def test_refusals(settings, error, message):
    with pytest.raises(error, match=message):
        nnx.lab.activations(**settings)
