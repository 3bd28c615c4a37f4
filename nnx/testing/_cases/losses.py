"""Losses, and what is counted or summed."""

import numpy as np

from .._case import EXACT, SUMS, Inputs, Maker, cases
from ._inputs import SHAPES, by_shape, normal

_BLOCKS = {"blocks": (400, 13)}
"""More elements than an implementation might do at a time."""


def _labelled(r: np.random.Generator, n: int, c: int) -> Inputs:
    return {"z": r.normal(size=(n, c)), "t": r.integers(0, c, n), "bias": r.normal(size=c)}


def _mixed(r: np.random.Generator, n: int, c: int) -> Inputs:
    """Rows of probabilities."""
    return _labelled(r, n, c) | {"t": r.dirichlet(np.ones(c), n)}


def _one_hot(r: np.random.Generator) -> Inputs:
    inputs = _labelled(r, 37, 13)
    return inputs | {"t": np.eye(13)[inputs["t"]]}


def large_logits(r: np.random.Generator) -> Inputs:
    # Whole numbers, so that adding the bias does not round.
    return _labelled(r, 37, 13) | {"z": r.choice([-1e4, 0.0, 1e4], (37, 13)), "bias": r.integers(-3, 4, 13) * 1.0}


def _rows_apart(r: np.random.Generator) -> Inputs:
    """Rows so far apart that the exponentials of one vanish beside those of another."""
    inputs = _labelled(r, 37, 13)
    return inputs | {"z": inputs["z"] + r.choice([-1e4, 0.0, 1e4], (37, 1))}


def _peaks(r: np.random.Generator) -> Inputs:
    """Wide rows with one maximum each, far above the rest, at the ends or between; without the bias it is elsewhere."""
    at = np.array([0, 70, 300, 511, 514])
    bias = r.choice([-1e4, 0.0, 1e4], 515)
    z = r.integers(-3, 4, (len(at), 515)) - bias
    z[np.arange(len(at)), at] += 1e4
    return {"z": z, "t": np.where(np.arange(len(at)) % 2, r.integers(0, 515, len(at)), at), "bias": bias}


def _wide(r: np.random.Generator) -> Inputs:
    """Return the peaks with no bias."""
    inputs = _peaks(r)
    return {"z": inputs["z"] + inputs["bias"], "t": inputs["t"]}


def _out_of_range(label: int, row: int, n: int = 37, c: int = 13) -> Maker:
    def make(r: np.random.Generator) -> Inputs:
        inputs = _labelled(r, n, c)
        inputs["t"][row] = label
        return inputs

    return make


def without_bias(inputs: Inputs) -> Inputs:
    return {name: value for name, value in inputs.items() if name != "bias"}


def weighted(r: np.random.Generator, inputs: Inputs) -> Inputs:
    """With weights of the rows, some of them 0."""
    return inputs | {"weight": r.choice([0.0, 0.5, 2.0], len(inputs["z"]))}


def _scores(r: np.random.Generator, n: int, c: int) -> Inputs:
    """Few different values, so that most rows have several maxima."""
    return {"y": r.integers(0, 3, (n, c)) * 0.5, "t": r.integers(0, c, n)}


def _flat(size: int) -> Maker:
    return lambda r: normal(r, x=size)


CASES = [
    *cases("softmax", by_shape(lambda r, n, c: normal(r, x=(n, c)), SHAPES | _BLOCKS), SUMS, nan="x"),
    *cases("softmax", {"large-logits": lambda r: {"x": large_logits(r)["z"]}}, SUMS),
    *cases("softmax", {"rows-apart": lambda r: {"x": _rows_apart(r)["z"]}}, SUMS),
    *cases("softmax", {"wide-peaks": lambda r: {"x": _wide(r)["z"] - 2e4}}, SUMS),
    *cases(
        "softmax_cross_entropy",
        {
            **by_shape(_labelled, SHAPES | _BLOCKS),
            "no-bias": lambda r: without_bias(_labelled(r, 37, 13)),
            "large-logits": large_logits,
            "rows-apart": lambda r: without_bias(_rows_apart(r)),
            "wide-peaks": _peaks,
            "wide-peaks-no-bias": _wide,
            "probabilities-large-logits": lambda r: large_logits(r) | {"t": r.dirichlet(np.ones(13), 37)},
            "probabilities": lambda r: _mixed(r, 37, 13),
            "probabilities-blocks": lambda r: _mixed(r, *_BLOCKS["blocks"]),
            "probabilities-one-row": lambda r: _mixed(r, 1, 7),
            "probabilities-no-bias": lambda r: without_bias(_mixed(r, 515, 3)),
            "one-hot": _one_hot,
            "weights": lambda r: weighted(r, _labelled(r, 37, 13)),
            "weights-probabilities": lambda r: weighted(r, _mixed(r, 37, 13)),
            "weights-wide": lambda r: weighted(r, _labelled(r, 3, 515)),
        },
        SUMS,
        nan="z",
    ),
    *cases(
        "softmax_cross_entropy",
        {
            "label-below": _out_of_range(-1, row=0),
            "label-above": _out_of_range(13, row=36),
            "label-beyond-32-bits": _out_of_range(2**32, row=5),
            "label-above-wide": _out_of_range(515, row=2, n=3, c=515),
            "label-far-below": _out_of_range(-(2**62), row=5),
        },
        SUMS,
        unspecified=("dz", "db"),
    ),
    *cases(
        "count_correct",
        {
            **by_shape(_scores),
            "probabilities": lambda r: _scores(r, 37, 13) | {"t": r.integers(0, 3, (37, 13)) / 4},
            "probabilities-wide": lambda r: _scores(r, 2, 1030) | {"t": r.integers(0, 3, (2, 1030)) / 4},
            "all-right": lambda r: {"y": np.eye(5), "t": np.arange(5)},
        },
        EXACT,
    ),
    *cases("sum_squares", {"one": _flat(1), "odd-size": _flat(37), "large": _flat(70001)}, SUMS, nan="x"),
    *cases("global_norm", {"odd-size": _flat(37), "large": _flat(70001)}, SUMS, nan="x"),
]
