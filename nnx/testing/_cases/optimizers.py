"""Clipping of gradients. The updates are in formulas.py."""

import numpy as np

from .._case import Maker, cases


def _clip(norm: float) -> Maker:
    hyper = np.array([0.1, 0.9, 0.2, 0.5])
    return lambda r: {"hyper": hyper, "norm": np.array(norm), "limit": np.array(1.5)}


CASES = cases("clip_", {"above": _clip(7.0), "below": _clip(2.0), "zero": _clip(0.0)}, nan="norm")
