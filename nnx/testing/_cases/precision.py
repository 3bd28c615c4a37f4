"""The loss scale of mixed precision. What is narrowed is checked in _narrow.py: its dtype is the backend's own."""

import numpy as np

from .._case import EXACT, Maker, cases
from ._inputs import normal


def _gradient(*shape: int) -> Maker:
    return lambda r: normal(r, x=shape) | {"scaling": np.array([4.0, 3.0, 5.0])}


def _step(norm: float, scale: float = 1024.0, so_far: float = 3.0) -> Maker:
    return lambda r: {
        "hyper": np.array([0.1, 0.2, 0.5]),
        "norm": np.array(norm),
        "scaling": np.array([scale, so_far, 5.0]),
    }


CASES = [
    *cases(
        "rescale_",
        {
            "matrix": _gradient(37, 13),
            "vector": _gradient(515),
            "one-element": _gradient(1, 1),
            "large": _gradient(70001),
        },
        EXACT,
        nan="x",
    ),
    *cases(
        "unscale_",
        {
            "finite": _step(7.0),
            "due": _step(7.0, so_far=4.0),
            "not-finite": _step(np.inf),
            "nan": _step(np.nan, so_far=4.0),
            "greatest": _step(7.0, scale=2.0**24, so_far=4.0),
            "least": _step(np.inf, scale=1.0),
        },
        EXACT,
    ),
]
