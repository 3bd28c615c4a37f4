"""What a user's own object holds between steps, as arrays that a file can keep."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops import Array, HostArray


def state_of(part: Any, to_host: Callable[[Array], HostArray]) -> dict[str, HostArray]:
    """Collect an object's attributes that are numbers, arrays, or dictionaries of them, by name or name/key.

    The name of a NumPy number ends in "=": unlike a Python number's, its dtype counts in sums with arrays.
    """
    found: dict[str, HostArray] = {}
    for name, value in vars(part).items():
        for key, one in value.items() if isinstance(value, dict) else [(None, value)]:
            place = name if key is None else f"{name}/{key}"
            if isinstance(one, np.generic):
                found[f"{place}="] = np.array(one)
            elif isinstance(one, int | float):
                found[place] = np.array(one)
            elif hasattr(one, "dtype") and hasattr(one, "shape"):
                found[place] = np.array(to_host(one))
    return found


def put_state(part: Any, state: dict[str, HostArray], to_device: Callable[[HostArray], Array]) -> None:
    """Set an object's attributes to what `state_of` found."""
    for place, array in state.items():
        name, _, key = place.removesuffix("=").partition("/")
        value: Any = array[()] if place.endswith("=") else array.item() if array.ndim == 0 else to_device(array.copy())
        if not key:
            setattr(part, name, value)
            continue
        held = getattr(part, name, None)
        if not isinstance(held, dict):
            held = {}
            setattr(part, name, held)
        held[key] = value
