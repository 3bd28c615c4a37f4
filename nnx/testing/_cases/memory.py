"""Buffers and batches."""

import numpy as np

from ...ops import HostArray
from .._case import EXACT, Inputs, Maker, cases
from ._inputs import normal

_INDEX = np.array([4, 0, 49, 4, 17, 48, 49], np.int64)  # of 50 rows: both ends, and some twice


def _size(size: int) -> Maker:
    return lambda r: {"size": size}


def _floats(r: np.random.Generator, *row: int) -> Inputs:
    return normal(r, data=(50, *row)) | {"index": _INDEX}


def _bytes(r: np.random.Generator, *row: int) -> Inputs:
    return {"data": r.integers(0, 256, (50, *row), np.uint8), "index": _INDEX}


def _labels(r: np.random.Generator) -> Inputs:
    return {"data": r.integers(-(2**60), 2**60, 50), "index": _INDEX}


def _scale(value: float) -> dict[str, HostArray]:
    return {"scale": np.array(value)}


CASES = [
    *cases(
        "allocate",
        {"empty": _size(0), "one": _size(1), "odd-size": _size(1037)},
        EXACT,
        dtypes=("float32", "float64", "bool"),
    ),
    *cases(
        "take",
        {
            "rows": lambda r: _floats(r, 7),
            "images": lambda r: _floats(r, 3, 5),
            "one-row": lambda r: _floats(r, 7) | {"index": _INDEX[:1]},
            "many-rows": lambda r: _floats(r, 3) | {"index": r.integers(0, 50, 515)},
        },
        EXACT,
    ),
    *cases(
        "take",
        {
            "labels": _labels,
            "many-labels": lambda r: _labels(r) | {"index": r.integers(0, 50, 515)},
            "bytes": lambda r: _bytes(r, 7),
        },
        EXACT,
        dtypes=("int64",),
    ),
    *cases(
        "take",
        {
            "scaled-bytes": lambda r: _bytes(r, 7) | _scale(1 / 255),
            "scaled-integers": lambda r: {"data": r.integers(-999, 999, (50, 9)), "index": _INDEX} | _scale(1 / 255),
            "scaled-images": lambda r: _bytes(r, 3, 5) | _scale(1 / 255),
            "scaled-floats": lambda r: _floats(r, 9) | _scale(-1.75),
        },
    ),
]
