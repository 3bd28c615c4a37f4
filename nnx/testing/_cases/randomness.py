"""Random words and what is made of them."""

import numpy as np

from ...ops import HostArray
from .._case import EXACT, SUMS, Inputs, Maker, cases
from .._reference import philox
from ._inputs import SHAPES, by_shape

_MANY = 32773  # words: more than 8192 blocks of four, which an implementation might do at a time


def _key(r: np.random.Generator, dropout_ratio: float = 0.5, first_row: int = 0) -> HostArray:
    """[seed low, seed high, layer, step low, step high, threshold, first row]."""
    return np.array([*r.integers(0, 2**32, 5), int(dropout_ratio * 2**32), first_row], np.uint32)


def _words(size: int) -> Maker:
    return lambda r: {"rng": _key(r), "size": size}


def _words_of_rows(first: int, size: int, row: int) -> Maker:
    return lambda r: {"rng": _key(r, first_row=first), "size": size, "row": row}


def _dropout(r: np.random.Generator, *shape: int, ratio: float = 0.5, first: int = 0) -> Inputs:
    return {"x": r.normal(size=shape), "rng": _key(r, ratio, first), "factor": np.array(1 / (1 - ratio))}


def _word_at_threshold(r: np.random.Generator) -> Inputs:
    inputs = _dropout(r, 37, 13)
    inputs["rng"][5] = philox(inputs["rng"], 37 * 13, 13)[-1]
    return inputs


def _dropout_backward(r: np.random.Generator, *shape: int) -> Inputs:
    return {"dy": r.normal(size=shape), "mask": r.random(shape) < 0.5, "factor": np.array(2.0)}


CASES = [
    *cases(
        "philox",
        {
            "known-answer": lambda r: {"rng": np.zeros(7, np.uint32), "size": 4},
            "carries": lambda r: {"rng": np.array([2**32 - 1] * 6 + [0], np.uint32), "size": 8},
            "one-word": _words(1),
            "odd-size": _words(1039),
            "blocks": _words(_MANY),
            "whole-blocks-of-rows": _words_of_rows(3, 101, 4),
            "parts-of-blocks-of-rows": _words_of_rows(7, _MANY, 3),
            "far-on": _words_of_rows(2**32 - 1, 5, 2),
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
            "later-rows": lambda r: _dropout(r, 37, 13, first=5),
            "later-pictures": lambda r: _dropout(r, 5, 3, 7, 3, first=2),
        },
        nan="x",
    ),
    *cases("dropout_backward", by_shape(_dropout_backward, {**SHAPES, "pictures": (3, 5, 4, 7)}), SUMS, nan="dy"),
]
