"""Random words and what is made of them."""

import numpy as np

from ...ops import HostArray
from .._case import EXACT, SUMS, Inputs, Maker, cases
from .._reference import philox
from ._inputs import SHAPES, by_shape

_MANY = 32773  # words: more than 8192 blocks of four, which an implementation might do at a time


def _key(r: np.random.Generator, dropout_ratio: float = 0.5) -> HostArray:
    """[seed low, seed high, layer, step low, step high, threshold]."""
    return np.array([*r.integers(0, 2**32, 5), int(dropout_ratio * 2**32)], np.uint32)


def _words(size: int) -> Maker:
    return lambda r: {"rng": _key(r), "size": size}


def _dropout(r: np.random.Generator, *shape: int, ratio: float = 0.5) -> Inputs:
    return {"x": r.normal(size=shape), "rng": _key(r, ratio), "factor": np.array(1 / (1 - ratio))}


def _word_at_threshold(r: np.random.Generator) -> Inputs:
    inputs = _dropout(r, 37, 13)
    inputs["rng"][5] = philox(inputs["rng"], 37 * 13)[-1]
    return inputs


def _dropout_backward(r: np.random.Generator, *shape: int) -> Inputs:
    return {"dy": r.normal(size=shape), "mask": r.random(shape) < 0.5, "factor": np.array(2.0)}


CASES = [
    *cases(
        "philox",
        {
            "known-answer": lambda r: {"rng": np.zeros(6, np.uint32), "size": 4},
            "carries": lambda r: {"rng": np.full(6, 2**32 - 1, np.uint32), "size": 8},
            "one-word": _words(1),
            "odd-size": _words(1039),
            "blocks": _words(_MANY),
        },
        EXACT,
        dtypes=("uint32",),
    ),
    *cases(
        "dropout",
        by_shape(_dropout, {**SHAPES, "half-a-block": (2, 7), "images": (5, 3, 7), "blocks": (13, _MANY // 13)})
        | {
            "keep-all": lambda r: _dropout(r, 37, 13, ratio=0.0),
            "keep-few": lambda r: _dropout(r, 37, 13, ratio=0.95),
            "word-at-threshold": _word_at_threshold,
        },
        nan="x",
    ),
    *cases("dropout_backward", by_shape(_dropout_backward, {**SHAPES, "pictures": (3, 5, 4, 7)}), SUMS, nan="dy"),
]
