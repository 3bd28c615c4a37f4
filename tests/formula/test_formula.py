"""A formula: traced once, then evaluated, differentiated and written in other languages."""

import math
import operator

import numpy as np
import pytest

import nnx
from nnx import formula as f
from nnx.formula import Formula, derivative, where

X = np.array([-3.0, -0.5, -0.0, 0.0, 0.25, 1.0, 2.5])
NUMBERS = {
    "exp": np.exp,
    "tanh": np.tanh,
    "abs": np.abs,
    "sign": np.sign,
    "erf": np.vectorize(math.erf, otypes=[float]),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
}


def one(function, name="f"):
    return Formula(name, function, ["x"], ["y"])


@pytest.mark.parametrize("name", NUMBERS)
def test_functions_of_arrays(name):
    (got,) = one(getattr(f, name)).on_arrays(np, x=X)
    np.testing.assert_allclose(got, NUMBERS[name](X), rtol=1e-14, atol=1e-15)


def test_logarithms_and_roots():
    (got,) = one(lambda x: f.log(x) + f.log1p(x) + f.sqrt(x)).on_arrays(np, x=abs(X) + 1)
    np.testing.assert_allclose(got, np.log(abs(X) + 1) + np.log1p(abs(X) + 1) + np.sqrt(abs(X) + 1), rtol=1e-14)


@pytest.mark.parametrize("power", [1, 2, 3, 5])
def test_a_power_is_a_product(power):
    np.testing.assert_allclose(one(lambda x: x**power).on_arrays(np, x=X)[0], X**power, rtol=1e-14)


def test_the_absolute_value_by_pythons_own_function():
    np.testing.assert_array_equal(one(abs).on_arrays(np, x=X)[0], np.abs(X))


@pytest.mark.parametrize("name", [n for n in f.FUNCTIONS if n not in ("where", "maximum", "minimum")])
def test_a_derivative_is_that_of_differences(name):
    function = one(getattr(f, name))
    slope = Formula("slope", lambda x: derivative(getattr(f, name)(x), x), ["x"], ["dx"])
    x, h = np.array([0.3, 0.7, 1.1, 2.5]), 1e-6
    numeric = (function.on_arrays(np, x=x + h)[0] - function.on_arrays(np, x=x - h)[0]) / (2 * h)
    np.testing.assert_allclose(slope.on_arrays(np, x=x)[0], numeric, atol=1e-8)


def test_derivatives_of_combinations():
    def function(x):
        return where(x > 1, f.maximum(x * x, 3.0) / (x + 3), f.minimum(-x, 2 - x**3) * 5)

    x, h = np.array([-2.0, 0.3, 1.5, 4.0]), 1e-6
    slope = Formula("slope", lambda x: derivative(function(x), x), ["x"], ["dx"])
    numeric = (one(function).on_arrays(np, x=x + h)[0] - one(function).on_arrays(np, x=x - h)[0]) / (2 * h)
    np.testing.assert_allclose(slope.on_arrays(np, x=x)[0], numeric, atol=1e-7)


def test_the_greater_of_equals_has_the_slope_of_the_second():
    for function in (f.maximum, f.minimum):
        slope = Formula("slope", lambda x, g=function: derivative(g(2 * x, 3 * x), x), ["x"], ["dx"])
        assert slope.on_arrays(np, x=np.zeros(1))[0] == 3


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_comparisons_are_decided_as_they_are_computed(compare):
    whole = Formula("f", lambda x, s: where(compare(s, 0.0), x, 2 * x), ["x"], ["y"], ["s"])
    for s in (-1.0, 0.0, 1.0):
        fixed, expected = whole.fix(s=s), X if compare(s, 0.0) else 2 * X
        assert np.array_equal(fixed.on_arrays(np, x=X)[0], expected)
        assert np.array_equal(whole.on_arrays(np, x=X, s=np.full_like(X, s))[0], expected)
        assert "where" not in [op for _, op, _ in fixed.instructions]


def test_a_result_that_is_a_number_has_the_inputs_shape():
    (got,) = one(lambda x: 2.0).on_arrays(np, x=X.astype(np.float32))
    assert np.array_equal(got, np.full_like(X, 2.0))
    assert got.dtype == np.float32


@pytest.mark.parametrize("setting", [3, 3.0, np.array(3.0)])
def test_a_result_that_is_a_setting_has_the_inputs_shape(setting):
    made = Formula("f", lambda x, s: (s, s * s), ["x"], ["y", "z"], ["s"])
    for got, expected in zip(made.on_arrays(np, x=X, s=setting), (3.0, 9.0), strict=True):
        assert np.array_equal(got, np.full_like(X, expected))
        assert got.dtype == X.dtype


def test_a_choice_between_equals_is_none():
    made = Formula("f", lambda x, s: where(x > 0, s * x, 0.0), ["x"], ["y"], ["s"]).fix(s=0)
    assert made.instructions == ()
    assert made.results == (0.0,)


def test_what_stands_twice_is_computed_once():
    made = one(lambda x: f.exp(x) * f.exp(x))
    assert [op for _, op, _ in made.instructions] == ["exp", "*"]


def test_equal_formulas_are_equal_and_others_not():
    made, again = one(lambda x: x * 0.5 + 1), one(lambda x: x * 0.5 + 1)
    assert made == again
    assert hash(made) == hash(again)
    assert made != one(lambda x: x * 0.5 + 1, "g")
    assert made != one(lambda x: x * 0.5 - 1)
    assert one(lambda x: x * 0.0 + x) != one(lambda x: x * -0.0 + x)


def test_written_in_python_and_in_c():
    made = one(lambda x: where(x > 0, x, 0.01 * x))
    assert made.python() == (
        ["_0 = (x_ > R(0.0))", "_1 = (R(0.01) * x_)", "_2 = where(_0, x_, _1)"],
        ["_2"],
    )
    assert made.c() == (
        ["const bool _0 = (x_ > REAL(0.0));", "const REAL _1 = (REAL(0.01) * x_);", "const REAL _2 = (_0 ? x_ : _1);"],
        ["_2"],
    )
    assert repr(made).startswith("<formula f(x): _0 = ")
    assert one(lambda x: 2.0).python() == ([], ["R(2.0)"])
    assert one(lambda x: x * math.inf).c()[0] == ["const REAL _0 = (x_ * REAL(INFINITY));"]


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize("b", [0.5, "y"])
def test_nan_stays_nan(name, b):
    made = Formula("f", lambda x, y: getattr(f, name)(x, y if b == "y" else b), ["x", "y"], ["z"])
    x, y = np.array([np.nan, 1.0, 2.0, 1.0]), np.array([1.0, 2.0, 1.0, np.nan])
    expected = getattr(np, name)(x, y if b == "y" else b)
    np.testing.assert_array_equal(made.on_arrays(np, x=x, y=y)[0], expected)


def test_operations_are_all_that_instructions_do_with_as_many_arguments():
    numbers = [operator.neg, *(getattr(f, name) for name in NUMBERS), f.log, f.log1p, f.sqrt]
    pairs = [operator.add, operator.sub, operator.mul, operator.truediv, f.maximum, f.minimum]
    choices = [operator.lt, operator.le, operator.gt, operator.ge]
    made = [
        *(one(function) for function in numbers),
        *(Formula("f", function, ["x", "y"], ["z"]) for function in pairs),
        *(Formula("f", lambda x, y, c=compare: where(c(x, y), x, y), ["x", "y"], ["z"]) for compare in choices),
    ]
    assert {op: len(args) for each in made for _, op, args in each.instructions} == f.OPERATIONS


def test_some_of_the_outputs():
    made = Formula("f", lambda x: (f.exp(x), x * 2), ["x"], ["y", "z"]).only("z")
    assert (made.outputs, [op for _, op, _ in made.instructions]) == (("z",), ["*"])


def test_scalars_can_be_fixed():
    made = Formula("f", lambda x, a, b: where(a > 0, x * a, 0.0) + x * b, ["x"], ["y"], ["a", "b"])
    fixed = made.fix(a=0.0, b=1.0)
    assert (fixed.scalars, fixed.instructions, fixed.results) == ((), (), ("x",))
    assert made.fix(b=0).scalars == ("a",)
    assert [op for _, op, _ in made.fix(a=2).instructions] == ["*", "*", "+"]
    assert made.uses("b")
    assert not made.fix(b=0).uses("b")
    np.testing.assert_array_equal(made.on_arrays(np, x=X, a=2.0, b=3.0)[0], 5 * X)


def branching(x):
    return x if x > 0 else 0.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: one(branching), r"a formula cannot branch on a value; use where\(condition, a, b\)"),
        (lambda: one(math.sin), r"no number yet; use the functions of nnx\.formula: exp, log, log1p"),
        (lambda: one(np.sin), r"NumPy's sin got a value of a formula; use the functions of nnx\.formula"),
        (lambda: one(lambda x: np.ones(3) * x), r"NumPy's multiply got a value of a formula; expected Python numbers"),
        (lambda: one(np.asarray), r"no number yet"),
        (lambda: one(lambda x: f.sin(x) + 1), "unknown function of formulas 'sin'. Did you mean 'sign'"),
        (lambda: one(lambda x: (x, x)), "formula 'f': got 2 results, expected 1: y"),
        (lambda: one(lambda x: None), "formula 'f': got None, expected a value of the formula or a number"),
        (lambda: one(lambda x: x > 0), r"formula 'f': a result is a comparison; use where\(condition, 1, 0\)"),
        (lambda: one(lambda x: (x > 0) * x), r"\*: got <value > of a formula>, expected a number: use where"),
        (
            lambda: one(lambda x: where(x, 1, 0)),
            "where: got <value x of a formula>, expected a comparison such as x > 0",
        ),
        (lambda: one(lambda x: where(x == 0, 1, 0)), "where: got False, .*== and != are no comparisons of a formula"),
        (lambda: one(lambda x: x**0.5), r"a formula's power: got 0\.5, expected a whole number of at least 1"),
        (lambda: one(lambda x: x**1.5), r"a formula's power: got 1\.5, expected a whole number of at least 1"),
        (lambda: one(lambda x: x**0), "a formula's power: got 0, expected a whole number of at least 1"),
        (lambda: one(lambda x: f.exp("x")), "exp: got 'x', expected a value of the formula or a number"),
        (lambda: one(lambda x: x, "my formula"), "a formula's name: got 'my formula', expected a name such as 'swish'"),
        (lambda: Formula("f", lambda x: x, ["_x"], ["y"]), "formula 'f': a variable: got '_x', expected a name"),
    ],
)
def test_refusals(make, message):
    with pytest.raises((nnx.NnxError, AttributeError), match=message):
        make()


def test_values_of_another_formula_are_refused():
    kept = []
    Formula("a", lambda t: kept.append(t) or t, ["t"], ["y"])
    with pytest.raises(nnx.NnxError, match="formula 'f': uses t of another formula; expected its own inputs"):
        one(lambda x: x + kept[0])
