"""Convolution and pooling: kernels as large as the pictures, and larger than strides, and smaller; odd channels."""

from typing import Any

import numpy as np

from .._case import EXACT, SUMS, Inputs, Maker, cases
from ._inputs import by_shape, normal

Sizes = tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]

_CONVOLUTIONS: dict[str, Sizes] = {
    "one-channel": ((3, 9, 8, 1), (5, 1, 3, 3), {}),
    "vectors-of-channels": ((2, 5, 4, 8), (4, 8, 2, 3), {}),
    "odd-channels": ((2, 7, 5, 13), (3, 13, 3, 2), {"pad": (1, 1)}),
    "many-filters": ((1, 6, 6, 3), (70, 3, 3, 3), {"pad": (1, 0)}),
    "large-kernel": ((2, 9, 9, 2), (33, 2, 5, 5), {"pad": (2, 2)}),
    "whole-picture": ((3, 4, 5, 6), (7, 6, 4, 5), {}),
    "one-pixel": ((5, 3, 4, 9), (17, 9, 1, 1), {}),
    "one-pixel-strides": ((2, 5, 6, 9), (4, 9, 1, 1), {"stride": (2, 1)}),
    "one-pixel-strides-across": ((2, 5, 6, 4), (3, 4, 1, 1), {"stride": (1, 2)}),
    "one-pixel-padding": ((2, 3, 4, 5), (3, 5, 1, 1), {"pad": (1, 0)}),
    "one-row": ((2, 4, 5, 4), (3, 4, 1, 2), {}),
    "one-column": ((2, 4, 5, 4), (3, 4, 2, 1), {}),
    "strides": ((2, 11, 9, 3), (18, 3, 3, 3), {"stride": (2, 2), "pad": (1, 1)}),
    "unequal-strides": ((2, 10, 9, 2), (4, 2, 3, 2), {"stride": (3, 1), "pad": (0, 1)}),
    "strides-beyond-the-kernel": ((2, 9, 10, 3), (4, 3, 1, 2), {"stride": (2, 3)}),
    "padding-beyond-the-kernel": ((2, 3, 2, 2), (3, 2, 2, 2), {"pad": (3, 2)}),
    "kernel-beyond-the-picture": ((2, 2, 2, 4), (3, 4, 5, 5), {"stride": (2, 2), "pad": (2, 2)}),
    "one-pixel-pictures": ((5, 1, 1, 4), (8, 4, 3, 3), {"pad": (1, 1)}),
    "rest-left-over": ((2, 8, 9, 3), (5, 3, 3, 3), {"stride": (2, 3)}),
    "many-pictures": ((67, 3, 2, 2), (3, 2, 2, 2), {"pad": (1, 0)}),
}
"""Pictures, filters, settings."""

_WINDOWS: dict[str, Sizes] = {
    "halves": ((3, 8, 6, 5), (2, 2), {"stride": (2, 2)}),
    "rest-left-over": ((2, 7, 9, 3), (2, 3), {"stride": (2, 3)}),
    "overlapping": ((2, 7, 6, 4), (3, 3), {"stride": (2, 2), "pad": (1, 1)}),
    "overlapping-downwards": ((2, 6, 7, 3), (3, 2), {"stride": (1, 3)}),
    "overlapping-across": ((2, 8, 9, 3), (2, 3), {"stride": (3, 2)}),
    "beyond-the-picture": ((2, 2, 2, 3), (5, 5), {"stride": (2, 2), "pad": (2, 2)}),
    "dense": ((2, 6, 5, 1), (3, 2), {"stride": (1, 1), "pad": (2, 1)}),
    "gaps": ((2, 9, 8, 3), (2, 1), {"stride": (3, 3)}),
    "whole-picture": ((3, 5, 4, 17), (5, 4), {"stride": (5, 4)}),
    "one-pixel": ((2, 3, 4, 2), (1, 1), {"stride": (1, 1)}),
    "many-pictures": ((67, 3, 2, 2), (2, 2), {"stride": (1, 1)}),
}
"""Pictures, the window's size, settings."""


def _places(length: int, size: int, stride: int, pad: int) -> int:
    return (length + 2 * pad - size) // stride + 1


def _output(shape: tuple[int, ...], size: tuple[int, ...], settings: dict[str, Any], channels: int) -> tuple[int, ...]:
    stride, pad = settings.get("stride", (1, 1)), settings.get("pad", (0, 0))
    places = (_places(*numbers) for numbers in zip(shape[1:3], size, stride, pad, strict=True))
    return (shape[0], *places, channels)


def _convolution(
    r: np.random.Generator, shape: tuple[int, ...], filters: tuple[int, ...], settings: dict[str, Any]
) -> Inputs:
    return normal(r, x=shape, w=filters, b=filters[0]) | settings


def _convolution_backward(
    r: np.random.Generator, shape: tuple[int, ...], filters: tuple[int, ...], settings: dict[str, Any]
) -> Inputs:
    dy = _output(shape, filters[2:], settings, filters[0])
    return normal(r, dy=dy, x=shape, w=filters) | settings


def _pooling(r: np.random.Generator, shape: tuple[int, ...], size: tuple[int, ...], settings: dict[str, Any]) -> Inputs:
    return normal(r, x=shape) | {"size": size} | settings


def _pooling_backward(
    r: np.random.Generator, shape: tuple[int, ...], size: tuple[int, ...], settings: dict[str, Any]
) -> Inputs:
    return normal(r, dy=_output(shape, size, settings, shape[3])) | {"shape": shape[1:3], "size": size} | settings


def _max_pooling_backward(
    r: np.random.Generator, shape: tuple[int, ...], size: tuple[int, ...], settings: dict[str, Any]
) -> Inputs:
    """Choose elements of the windows, of those that lie on the pictures."""
    inputs = _pooling_backward(r, shape, size, settings)
    places = np.arange(np.prod(size)).reshape(size)
    index = np.empty(inputs["dy"].shape, np.uint8)
    stride, pad = settings["stride"], settings.get("pad", (0, 0))
    for n, i, j, c in np.ndindex(*index.shape):
        top, left = i * stride[0] - pad[0], j * stride[1] - pad[1]
        inside = places[max(0, -top) : shape[1] - top, max(0, -left) : shape[2] - left]
        index[n, i, j, c] = r.choice(inside.reshape(-1))
    return inputs | {"index": index}


def _equal_below_zero(r: np.random.Generator) -> Inputs:
    x = r.choice([-3.0, -2.0], (3, 7, 8, 5))
    return {"x": x, "size": (3, 2), "stride": (2, 2), "pad": (1, 0)}


def _minus_infinity(r: np.random.Generator) -> Inputs:
    """Make windows of nothing else: what is greatest lies on the picture all the same."""
    x = np.where(r.random((2, 5, 4, 3)) < 0.8, -np.inf, r.normal(size=(2, 5, 4, 3)))
    x[0] = -np.inf
    return {"x": x, "size": (3, 2), "stride": (1, 1), "pad": (2, 1)}


def _several_nan(r: np.random.Generator) -> Inputs:
    """Make windows with one NaN and with several, of which the first one is the greatest."""
    x = np.where(r.random((2, 6, 7, 3)) < 0.3, np.nan, r.normal(size=(2, 6, 7, 3)))
    return {"x": x, "size": (2, 3), "stride": (2, 2), "pad": (1, 1)}


def _without_bias(r: np.random.Generator) -> Inputs:
    inputs = _convolution(r, *_CONVOLUTIONS["odd-channels"])
    return {name: value for name, value in inputs.items() if name != "b"}


_MAX_POOLING: dict[str, Maker] = by_shape(_pooling, _WINDOWS) | {
    "equal-below-zero": _equal_below_zero,
    "minus-infinity": _minus_infinity,
    "several-nan": _several_nan,
}
CONVOLUTION: dict[str, Maker] = by_shape(_convolution, _CONVOLUTIONS) | {"no-bias": _without_bias}

CASES = [
    *cases("convolution", CONVOLUTION, SUMS, nan="x"),
    *cases("convolution_backward", by_shape(_convolution_backward, _CONVOLUTIONS), SUMS, nan="dy"),
    *cases("max_pooling", _MAX_POOLING, EXACT, nan="x"),
    *cases("max_pooling_backward", by_shape(_max_pooling_backward, _WINDOWS), nan="dy"),
    *cases("average_pooling", by_shape(_pooling, _WINDOWS), nan="x"),
    *cases("average_pooling_backward", by_shape(_pooling_backward, _WINDOWS), nan="dy"),
    *cases(
        "swap_axes",
        by_shape(
            lambda r, *shape: normal(r, x=shape),
            {
                "odd-sizes": (3, 37, 13),
                "one-picture": (1, 7, 9),
                "one-channel": (5, 11, 1),
                "wide": (2, 3, 515),
            },
        ),
        EXACT,
        nan="x",
    ),
]
