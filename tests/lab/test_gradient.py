"""Gradient descent on functions of two variables, and the gradient check of a model."""

import math

import numpy as np
import pytest

import nnx
from nnx import InputError, InputTypeError
from nnx.lab._surfaces import parse

pytestmark = pytest.mark.slow

BACKENDS = ["numpy", "numba"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_descent_on_the_bowl_is_the_formulas(backend):
    result = nnx.lab.gradient("bowl", (-7, 2), lrs=[0.5, 0.95], steps=40, backend=backend)
    for path in result.paths:
        k = np.arange(41)
        expected = np.column_stack([-7 * (1 - path.rate / 10) ** k, 2 * (1 - 2 * path.rate) ** k])
        np.testing.assert_allclose(path.points, expected, atol=1e-6)
        np.testing.assert_allclose(path.f, expected[:, 0] ** 2 / 20 + expected[:, 1] ** 2, atol=1e-6)
    x, y = np.meshgrid(result.x, result.y)
    np.testing.assert_allclose(result.field, np.stack([x / 10, 2 * y], axis=2), atol=1e-8)
    np.testing.assert_allclose(result.f, x**2 / 20 + y**2)


def test_default_rates_are_too_small_good_zigzagging_and_diverging():
    result = nnx.lab.gradient()
    assert [path.rate for path in result.paths] == [0.01, 0.5, 0.95, 1.05]
    assert [path.end for path in result.paths] == ["on its way", "arrived", "arrived", "diverged"]
    assert [path.zigzags for path in result.paths] == [False, False, True, True]
    steep = nnx.lab.gradient(lambda x, y: 100 * (x**2 / 20 + y**2), (-7, 2))
    assert [path.rate for path in steep.paths] == [0.0001, 0.005, 0.0095, 0.0105]
    assert [path.end for path in steep.paths] == ["on its way", "arrived", "arrived", "diverged"]


@pytest.mark.parametrize(
    ("f", "start", "rate", "end", "words"),
    [
        ("saddle", (-3, 0.1), 0.5, "unbounded", "falls without end"),
        ("saddle", (-3, 0), 0.5, "saddle", "stops at a saddle point"),
        ("log(x + 4) + y**2", (-3, 2), 0.5, "undefined", "leaves where f is defined"),
        (lambda x, y: math.exp(x * x) + y, (3, 0), 1.0, "undefined", "leaves where f is defined"),
        ("himmelblau", None, 0.01, "arrived", "arrives after"),
        ("rosenbrock", None, 0.001, "on its way", "still on its way"),
        ("sphere", None, 1.1, "diverged", "diverges, zigzagging"),
    ],
)
def test_what_became_of_a_path_is_measured(f, start, rate, end, words):
    result = nnx.lab.gradient(f, start, lrs=[rate])
    assert result.paths[0].end == end
    assert words in str(result)


def test_what_is_descended_is_named():
    def valley(x, y):
        return x**2 + 3 * y**2

    for f, name in ((valley, "valley(x, y)"), (lambda x, y: x**2, "f(x, y)"), ("x**2", "x**2"), ("BOWL", "x²/20 + y²")):
        assert str(nnx.lab.gradient(f, steps=1)).startswith(f"gradient descent on {name} from (")


def test_a_start_at_the_minimum_has_arrived():
    (path,) = nnx.lab.gradient("sphere", (0, 0), lrs=[0.1], steps=3).paths
    assert (path.end, path.arrived, path.zigzags) == ("arrived", 0, False)


def test_arrived_tells_the_step():
    (path,) = nnx.lab.gradient("sphere", (5, 0), lrs=[0.25], region=(-5, 5, -5, 5), steps=30).paths
    assert path.arrived == 6  # 5 / 2**6 < 0.1, a hundredth of the region


def test_a_function_without_curvature_needs_rates():
    with pytest.raises(InputError, match="lrs: f has no curvature at .* pass some, or another start."):
        nnx.lab.gradient("x + y")
    assert nnx.lab.gradient("x + y", lrs=[200.0]).paths[0].end == "unbounded"


def test_save_writes_paths_field_and_figure(tmp_path):
    result = nnx.lab.gradient("log(x) + y**2", (1, 1), region=(-1, 3, -2, 2), steps=5)
    files = result.save(tmp_path)
    assert [file.name for file in files] == ["gradient.csv", "gradient-field.csv", "gradient.png"]
    lines = files[0].read_text().splitlines()
    assert lines[0] == "learning_rate,step,x,y,f,gradient_norm,end"
    assert lines[1].split(",")[1:4] == ["0", "1.0", "1.0"]
    assert len(files[1].read_text().splitlines()) == 1 + 17 * 17
    assert files[2].stat().st_size > 20_000


@pytest.mark.parametrize(
    ("f", "start", "region"),
    [
        ("1/x + y", (1, 1), (-1, 1, -1, 1)),  # infinite in the middle
        ("log(x) + y", (1, 1), (-3, -1, -1, 1)),  # undefined all over the picture
        ("log(x**2) + y**2", (3e-4, 0), None),
    ],
)
def test_functions_with_holes_are_drawn(f, start, region):
    result = nnx.lab.gradient(f, start, region=region, lrs=[0.5, 1e300], steps=4)
    figure = result.plot()
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x**2 / 20 + y**2", 2**2 / 20 + 9),
        ("-x + +y * 2", 4),
        ("sin(pi * x) + exp(y) - log(e)", math.sin(2 * math.pi) + math.exp(3) - 1),
        ("sqrt(abs(-x)) * tanh(y) / cos(1e-3)", math.sqrt(2) * math.tanh(3) / math.cos(1e-3)),
        (" (1 - x)**2 ", 1),
    ],
)
def test_expressions(text, value):
    assert float(parse(text)(2.0, 3.0)) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bowll", "unknown function 'bowll'. Did you mean 'bowl'?"),
        ("x +", "'x \\+': is no expression in x and y"),
        ("", "is no expression in x and y"),
        ("__import__('os').getcwd()", "is not among what an expression may hold"),
        ("x.real", "'x.real': is not among what an expression may hold: numbers, x, y, pi, e"),
        ("z + 1", "'z': is not among"),
        ("sin(x, y)", "'sin\\(x, y\\)': is not among"),
        ("x if y else 1", "is not among"),
        ("(lambda: x)()", "is not among"),
        ("True", "unknown function 'True'"),
        ("x + True", "'True': is not among"),
        ("x % 2", "is not among"),
        ("x^2 + y", "'x\\^2 \\+ y': a power is written with \\*\\*: x\\*\\*2 for x\\^2."),
        ("x + " * 100 + "x", "an expression of 401 characters: expected 300 at most"),
        ("x\0", "is no expression in x and y"),
    ],
)
def test_other_expressions_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


def test_expressions_of_the_greatest_length_are_evaluated():
    assert parse("-" * 299 + "x")(2.0, 0.0) == -2
    with np.errstate(over="ignore"):
        assert parse("9**9**9**9**x")(2.0, 0.0) == math.inf  # in floats: no number of a billion digits


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"f": 3}, InputTypeError, "f: got 3, expected a function f\\(x, y\\), a name or an expression."),
        ({"f": lambda x: x}, InputTypeError, "f: .* takes 1 positional argument .* expected a function f\\(x, y\\)"),
        ({"f": lambda x, y: None}, InputTypeError, "f: .*NoneType.*; expected a function f\\(x, y\\) of two numbers"),
        ({"f": "1/x + y", "start": (0, 0)}, InputError, "f: is not finite around \\(0.0, 0.0\\); pass another start."),
        ({"start": 3}, InputTypeError, "start: got 3, expected two numbers such as"),
        ({"start": (1, "a")}, InputTypeError, "start: got \\(1, 'a'\\), expected two numbers"),
        ({"start": (1, math.nan)}, InputError, "start: got \\(1, nan\\), expected finite numbers."),
        ({"lrs": []}, InputTypeError, "lrs: got \\[\\], expected a list such as"),
        ({"lrs": [0.1, -1]}, InputError, "lrs: got -1, expected a finite number greater than 0."),
        ({"steps": 0}, InputError, "steps: got 0"),
        ({"region": (1, 2, 3)}, InputError, "region: got 3 numbers, expected four"),
        ({"region": (1, -1, 0, 1)}, InputError, "expected x from < x to and y from < y to."),
    ],
)
def test_refusals(settings, error, message):
    with pytest.raises(error, match=message):
        nnx.lab.gradient(**settings)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_check(backend, tmp_path):
    train = nnx.datasets.load("digits").train.take(range(10))
    model = nnx.MLP((8,), 10, activation="tanh", batch_norm=True, dropout=0.3)
    result = nnx.lab.gradient_check(model, train.inputs("float64"), train.t, samples=5, backend=backend)
    assert not model.built
    assert list(result.errors) == ["1.W", "1.b", "2.gamma", "2.beta", "5.W", "5.b"]
    assert max(result.errors.values()) < 1e-5
    assert str(result).endswith("all below 1e-05: the gradients are right.")
    files = result.save(tmp_path)
    assert [file.name for file in files] == ["gradient-check.csv", "gradient-check.png"]
    assert files[0].read_text().splitlines()[0] == "parameter,relative_error"


def test_gradient_check_of_a_built_model_names_what_is_wrong():
    model = nnx.MLP((4,), 3).build(5, backend="numpy", seed=1)
    x, t = np.random.default_rng(0).standard_normal((6, 5)), np.array([0, 1, 2, 0, 1, 2])
    result = nnx.lab.gradient_check(model, x, t)
    assert result.errors == nnx.functions.gradient_check(model, x, t)
    wrong = type(result)({**result.errors, "1.W": 0.3, "1.b": math.nan}, 20, 6, "model")
    assert list(wrong.wrong) == ["1.W", "1.b"]
    assert "2 of 4 are 1e-05 or more: a wrong backward pass, or the kink" in str(wrong)
    with pytest.raises(InputTypeError, match="model: got 3, expected an nnx.Sequential."):
        nnx.lab.gradient_check(3, x, t)
