"""The layouts of pictures: (n, channels, height, width) for networks, grey or coloured ones for people."""

from dataclasses import dataclass

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


def light_background(x: HostArray, scale: float) -> HostArray:
    """Return which grey pictures are light at their border, more than half of the way to white: (n,) bool.

    Args:
        x: (n, height, width).
        scale: makes them 0..1.
    """
    border = np.concatenate([x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]], axis=1)
    light: HostArray = border.mean(axis=1) * scale > 0.5
    return light


@dataclass(frozen=True)
class Layout:
    """Where a network's inputs have height, width and channels."""

    height: int
    width: int
    channels: int
    last: bool
    """Whether the channels are the last axis."""

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "Layout | None":
        """Tell the layout of grey or coloured pictures; None for inputs that are no such pictures.

        Args:
            shape: (height, width), (channels, height, width) or (height, width, channels), of 1 or 3 channels.
        """
        if len(shape) == 2:
            return cls(*shape, channels=1, last=True)
        if len(shape) == 3 and shape[0] in (1, 3):
            return cls(*shape[1:], channels=shape[0], last=False)
        if len(shape) == 3 and shape[2] in (1, 3):
            return cls(*shape, last=True)
        return None
