"""Initial weights: their standard deviations, which one is the default, and that the seed alone decides them."""

import math

import numpy as np
import pytest

import nnx
from nnx.initializers import check, draw, standard_deviation

HE, XAVIER = "he", "xavier"


@pytest.mark.parametrize(
    ("init", "n_in", "expected"),
    [(HE, 50, 0.2), (XAVIER, 100, 0.1), (HE, 1, math.sqrt(2)), (0.01, 7, 0.01), (0.0, 7, 0.0)],
)
def test_standard_deviations(init, n_in, expected):
    assert standard_deviation(init, n_in) == pytest.approx(expected, rel=1e-15)
    w = draw(init, (n_in, 20_000), np.random.default_rng(0))
    assert w.dtype == np.float64
    assert w.std() == pytest.approx(expected, rel=0.02)
    assert abs(w.mean()) <= 0.03 * expected


def weights(*layers, n_in=30, **settings):
    return nnx.Sequential(*layers).build(n_in, **settings).params["0.W"]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([nnx.ReLU], HE),
        ([nnx.BatchNorm, nnx.ReLU], HE),
        ([nnx.Dropout, nnx.ReLU], HE),
        ([nnx.BatchNorm, nnx.Dropout, nnx.ReLU], HE),
        ([nnx.Sigmoid], XAVIER),
        ([nnx.BatchNorm, nnx.Tanh], XAVIER),
        ([nnx.Sigmoid, nnx.ReLU], XAVIER),
        ([lambda: nnx.Affine(3), nnx.ReLU], XAVIER),
        ([nnx.BatchNorm], XAVIER),
        ([], XAVIER),
    ],
)
def test_the_default_suits_the_next_activation(after, expected):
    made = weights(nnx.Affine(4), *(make() for make in after))
    np.testing.assert_array_equal(made, weights(nnx.Affine(4, init=expected)))


@pytest.mark.parametrize("init", [HE, XAVIER, 0.5, 1])
def test_what_is_asked_for_wins(init):
    std = standard_deviation(check(init), 30)
    expected = np.random.default_rng(3).standard_normal((30, 4)) * std
    np.testing.assert_array_equal(weights(nnx.Affine(4, init=init), nnx.ReLU(), seed=3, dtype="float64"), expected)


@pytest.mark.parametrize("backend", [s.name for s in nnx.list_backends() if s.usable])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_seed_decides_and_nothing_else(backend, dtype):
    layers = nnx.Affine(4), nnx.ReLU(), nnx.Affine(3)
    state = nnx.Sequential(*layers).build(5, seed=11, dtype=dtype, backend=backend).state_dict()
    rng = np.random.default_rng(11)
    for name, shape, std in (("0.W", (5, 4), math.sqrt(2 / 5)), ("2.W", (4, 3), math.sqrt(1 / 4))):
        np.testing.assert_array_equal(state[name], (rng.standard_normal(shape) * std).astype(dtype))
    assert not state["0.b"].any()


def test_drawing_leaves_numpys_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002  what scripts of the study notes use
    weights(nnx.Affine(4))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("value", ["HE", "He", np.float32(0.5), np.float64(0.5), np.int64(1), 0])
def test_forms_of_the_same(value):
    assert check(value) == (value.lower() if isinstance(value, str) else float(value))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("hee", "unknown initialiser 'hee'. Did you mean 'he'. Known: he, xavier."),
        ("", "unknown initialiser ''. Known: he, xavier."),
        (-0.1, "init: got -0.1, expected a (finite )?standard deviation of 0 or more"),
        (math.nan, "init: got nan, expected a (finite )?standard deviation of 0 or more"),
        (math.inf, "init: got inf, expected a (finite )?standard deviation of 0 or more"),
        pytest.param(
            10**400, "init: got 10+, expected a (finite )?standard deviation of 0 or more", id="beyond all floats"
        ),
        (True, "init: got bool, expected 'he', 'xavier' or a standard deviation as a number"),
        ([0.1], "init: got list, expected 'he', 'xavier' or a standard deviation as a number"),
        (np.zeros(3), "init: got ndarray, expected 'he', 'xavier' or a standard deviation as a number"),
    ],
)
def test_refusals(value, message):
    with pytest.raises(nnx.NnxError, match=message):
        nnx.Affine(3, init=value)
    with pytest.raises(nnx.NnxError, match=message):
        nnx.MLP((3,), 2, init=value)
