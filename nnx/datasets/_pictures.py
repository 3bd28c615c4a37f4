"""The layouts of pictures: (n, channels, height, width) for networks, grey or coloured ones for people."""

import numpy as np

from ..errors import InputError
from ..ops import HostArray

_CHANNELS = (1, 3, 4)
"""Numbers of channels by which an axis is told to be that of the channels: grey, coloured, coloured and transparent."""


def as_pictures(name: str, x: HostArray) -> HostArray:
    """Return stored pictures as (n, channels, height, width).

    Args:
        name: of x, for the error message.
        x: (n, height, width), (n, channels, height, width), or (n, height, width, channels) of 1, 3 or 4 channels.

    Raises:
        InputError: x has another number of axes.
    """
    if x.ndim == 3:
        return x[:, None]
    if x.ndim != 4:
        raise InputError(
            f"{name}: got inputs of shape {x.shape}, expected pictures: (n, height, width), or (n, channels, height, "
            "width); reshape them first."
        )
    if x.shape[3] in _CHANNELS and x.shape[1] not in _CHANNELS:
        return np.ascontiguousarray(np.moveaxis(x, 3, 1))
    return x


def drawable(x: HostArray) -> HostArray | None:
    """Return inputs as they are drawn: grey (n, height, width) or coloured (n, height, width, 3); None for others."""
    if x.ndim not in (3, 4):
        return None
    pictures = as_pictures("x", x)
    if pictures.shape[1] == 1:
        return pictures[:, 0]
    return np.moveaxis(pictures, 1, 3) if pictures.shape[1] == 3 else None
