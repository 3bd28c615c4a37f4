"""Affine, activations, batch normalisation."""

import numpy as np

from .._case import EXACT, SUMS, Case, Inputs, Maker, Tolerance, cases
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


_AFFINE = by_shape(_affine, _PRODUCTS) | {"no-bias": lambda r: normal(r, x=(37, 13), w=(13, 5))}


def _plain(r: np.random.Generator, n: int, c: int) -> Inputs:
    return normal(r, x=(n, c))


def _scaled(r: np.random.Generator, n: int, c: int) -> Inputs:
    return normal(r, x=(n, c)) | {"factor": np.array(0.7)}


def _activated(r: np.random.Generator, n: int, c: int) -> Inputs:
    """Activations in -1..1, some of them 0."""
    y = r.uniform(-1, 1, (n, c))
    return {"dy": r.normal(size=(n, c)), "y": np.where(r.random((n, c)) < 0.2, 0.0, y)}


def _activation(op: str, large: float) -> list[Case]:
    extremes = np.array([[-large, large, 0.0], [-0.0, -90.0, 90.0], [-1e-6, 1e-6, 1.0]])
    large_inputs: dict[str, Maker] = {"large": lambda r: {"x": extremes}}
    return [
        *cases(op, by_shape(_plain) | large_inputs, nan="x"),
        *cases(f"{op}_backward", by_shape(_activated), SUMS, nan="dy"),
    ]


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


def _running(guard: float | None = None) -> Maker:
    given = {} if guard is None else {"guard": np.array(guard)}
    return lambda r: normal(r, running=13, batch=13) | {"hyper": _NORMALISING} | given


CASES = [
    *cases("affine", _AFFINE, SUMS, nan="x"),
    *cases("affine_relu", _AFFINE, SUMS),  # no NaN: cuBLASLt's ReLU epilogue turns it into 0
    *cases("affine_backward", by_shape(_affine_backward, _PRODUCTS), SUMS, nan="dy"),
    *_activation("relu", 1e30),
    *_activation("sigmoid", 1e4),
    *_activation("tanh", 1e4),
    *cases("scale", by_shape(_scaled), nan="x"),
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
    *cases("running_average_", {"no-guard": _running(), "finite-guard": _running(2.5)}, nan="batch"),
    *cases("running_average_", {"nan-guard": _running(np.nan)}, EXACT),
]
