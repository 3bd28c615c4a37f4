"""Standard deviations of the initial weights, and the draw itself: on the host, so that every backend starts alike."""

import math
from typing import TypeAlias

import numpy as np

from ._support.checks import as_number
from .errors import InputError, InputTypeError, unknown
from .ops import HostArray

Init: TypeAlias = "str | float | None"
"""`"he"`, `"xavier"`, a plain standard deviation, or None for what suits the next activation."""

INITIALIZERS = {
    "he": lambda n_in: math.sqrt(2.0 / n_in),  # He et al. 2015, for ReLU
    "xavier": lambda n_in: math.sqrt(1.0 / n_in),  # Glorot & Bengio 2010, in the form of fan-in alone
}


def check(init: Init) -> Init:
    """Return `init` in canonical form: None, "he", "xavier" or a float.

    Raises:
        InputError: the name is unknown, or the number is below 0 or not finite.
        InputTypeError: it is neither a name nor a number.
    """
    if init is None:
        return None
    if isinstance(init, str):
        if init.lower() not in INITIALIZERS:
            raise unknown("initialiser", init, INITIALIZERS)
        return init.lower()
    if isinstance(init, bool) or not isinstance(init, int | float | np.floating | np.integer):
        raise InputTypeError(
            f"init: got {type(init).__name__}, expected 'he', 'xavier' or a standard deviation as a number."
        )
    std = as_number(init)
    if not 0 <= std < math.inf:
        raise InputError(f"init: got {init}, expected a standard deviation of 0 or more.")
    return std


def standard_deviation(init: "str | float", n_in: int) -> float:
    """Return the standard deviation that `init` means for a layer of `n_in` inputs."""
    return INITIALIZERS[init](n_in) if isinstance(init, str) else init


def inputs_of(shape: tuple[int, ...]) -> int:
    """Return how many inputs one output has: n_in of weights (n_in, n_out), the size of one of the filters else."""
    return math.prod(shape[1:]) if len(shape) == 4 else shape[0]


def draw(init: "str | float", shape: tuple[int, ...], rng: np.random.Generator) -> HostArray:
    """Draw normal weights of mean 0.

    Args:
        init: "he", "xavier" or a standard deviation.
        shape: (n_in, n_out), or of filters, (n_out, channels, height, width).
        rng: the generator to draw from.

    Returns:
        float64 of this shape.
    """
    return rng.standard_normal(shape) * standard_deviation(init, inputs_of(shape))
