"""Affine, batch normalisation."""

from collections.abc import Callable

import numpy as np

from .._case import SUMS, Inputs, Maker, Tolerance, cases
from ._inputs import by_shape, normal

_PRODUCTS = {
    "odd-sizes": (37, 13, 5),
    "one-row": (1, 130, 9),
    "one-input": (6, 1, 11),
    "one-output": (9, 7, 1),
    "wide": (3, 5, 515),
}
"""(n, i, o)."""

_NORMALISING = np.array([1e-5, 0.9, 0.1])  # eps, momentum, 1 - momentum

_CANCELLING: Tolerance = (5e-4, 1e-12)
"""Of a mean of 100 beside a standard deviation of 1, float32 keeps five digits fewer; E[x**2] - E[x]**2 keeps none."""


def _affine(r: np.random.Generator, n: int, i: int, o: int) -> Inputs:
    return normal(r, x=(n, i), w=(i, o), b=o)


def _affine_backward(r: np.random.Generator, n: int, i: int, o: int) -> Inputs:
    return normal(r, dy=(n, o), x=(n, i), w=(i, o))


def _of_single(make: Callable[..., Inputs]) -> Maker:
    """Make inputs of which x is of float32, beside float64."""

    def made(r: np.random.Generator) -> Inputs:
        inputs = make(r, 37, 13, 5)
        return inputs | {"x": inputs["x"].astype(np.float32)}

    return made


AFFINE = by_shape(_affine, _PRODUCTS) | {"no-bias": lambda r: normal(r, x=(37, 13), w=(13, 5))}


def _batch_norm(r: np.random.Generator, n: int, c: int, mean: float = 0.0) -> Inputs:
    return {"x": r.normal(mean, 1, (n, c)), **normal(r, gamma=c, beta=c), "hyper": _NORMALISING}


def _constant_column(r: np.random.Generator) -> Inputs:
    inputs = _batch_norm(r, 37, 13)
    inputs["x"][:, 5] = 2.0
    return inputs


def _inference(r: np.random.Generator, n: int, c: int, mean: float = 0.0) -> Inputs:
    inputs = _batch_norm(r, n, c, mean)
    return inputs | {"mean": inputs["x"].mean(axis=0), "var": inputs["x"].var(axis=0)}


def _batch_norm_backward(r: np.random.Generator, n: int, c: int, mean: float = 0.0) -> Inputs:
    inputs = _inference(r, n, c, mean) | normal(r, dy=(n, c))
    del inputs["beta"]
    return inputs


CASES = [
    *cases("affine", AFFINE, SUMS, nan="x"),
    *cases("affine_backward", by_shape(_affine_backward, {**_PRODUCTS, "many-rows": (515, 3, 40)}), SUMS, nan="dy"),
    *cases("affine", {"float32-rows": _of_single(_affine)}, SUMS, dtypes=("float64",)),
    *cases("affine_backward", {"float32-rows": _of_single(_affine_backward)}, SUMS, dtypes=("float64",)),
    *cases("batch_norm", by_shape(_batch_norm) | {"constant-column": _constant_column}, SUMS, nan="x"),
    *cases("batch_norm", {"large-mean": lambda r: _batch_norm(r, 64, 5, mean=100.0)}, _CANCELLING),
    *cases("batch_norm_backward", by_shape(_batch_norm_backward), SUMS, nan="dy", exact=("db",)),
    *cases(
        "batch_norm_backward",
        {"large-mean": lambda r: _batch_norm_backward(r, 64, 5, mean=100.0)},
        _CANCELLING,
        exact=("db",),
    ),
    *cases("batch_norm_inference", by_shape(_inference), nan="x"),
]
