"""Inputs that several families of cases are made of."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._case import Inputs, Maker

SHAPES = {"odd-sizes": (37, 13), "one-row": (1, 7), "one-column": (9, 1), "tall": (515, 3), "wide": (3, 515)}
"""(n, c): not multiples of any vector length, and degenerate."""


def normal(r: np.random.Generator, **shapes: Any) -> Inputs:
    """Draw standard normal arrays by name."""
    return {name: r.normal(size=shape) for name, shape in shapes.items()}


def by_shape(make: Callable[..., Inputs], shapes: Mapping[str, tuple[Any, ...]] = SHAPES) -> dict[str, Maker]:
    """Make one maker for each shape, from `make(generator, *shape)`."""

    def of(shape: tuple[Any, ...]) -> Maker:
        return lambda r: make(r, *shape)

    return {name: of(shape) for name, shape in shapes.items()}
