"""The book's `common.util`: smoothing, shuffling, and images as columns."""

from typing import Any

import numpy as np

from ..backend import active_ops
from ..ops import Array, HostArray, Ops
from ._arrays import floats_of_images, like

__all__ = ["col2im", "conv_output_size", "im2col", "np", "shuffle_dataset", "smooth_curve"]


def smooth_curve(x: Any) -> HostArray:
    """Smooth a curve by a Kaiser window of 11 points (beta 2), mirroring its ends; the result has x's length."""
    values = np.asarray(x)
    window = np.kaiser(11, 2)
    mirrored = np.concatenate([values[10:0:-1], values, values[-1:-11:-1]])
    smooth: HostArray = np.convolve(window / window.sum(), mirrored, mode="valid")
    return smooth[5 : len(smooth) - 5]


def shuffle_dataset(x: Array, t: Array) -> tuple[Array, Array]:
    """Copy both in the same new order of rows, drawn from NumPy's global generator."""
    order = np.random.permutation(x.shape[0])
    return x[order], t[order]


def conv_output_size(input_size: float, filter_size: float, stride: float = 1, pad: float = 0) -> float:
    """Return the length of a convolution's output, as a float."""
    return (input_size + 2 * pad - filter_size) / stride + 1


def im2col(input_data: Array, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> Array:
    """Return the part of the images under each place of the filter as a row.

    Args:
        input_data: (n, c, h, w); NumPy's become float64, but for `NNX_SCRIPT_DTYPE` float32.
        filter_h: the filter's height.
        filter_w: the filter's width.
        stride: the step of the filter.
        pad: the zeros around the images.

    Returns:
        (n * out_h * out_w, c * filter_h * filter_w).
    """
    ops = active_ops()
    (images,) = floats_of_images(ops, input_data)
    return like(ops, to_columns(ops, images, filter_h, filter_w, stride, pad), input_data)


def col2im(
    col: Array, input_shape: tuple[int, ...], filter_h: int, filter_w: int, stride: int = 1, pad: int = 0
) -> Array:
    """Return images from the rows of `im2col`: what lies over one pixel is added.

    Args:
        col: as `im2col` returns it.
        input_shape: (n, c, h, w), of the images.
        filter_h: see `im2col`.
        filter_w: see `im2col`.
        stride: see `im2col`.
        pad: see `im2col`.
    """
    ops = active_ops()
    (columns,) = floats_of_images(ops, col)
    return like(ops, from_columns(ops, columns, input_shape, filter_h, filter_w, stride, pad), col)


def to_columns(ops: Ops, images: Array, filter_h: int, filter_w: int, stride: int, pad: int) -> Array:
    """Do what `im2col` does, for native arrays."""
    xp = ops.xp
    n, c, h, w = images.shape
    out_h, out_w = (h + 2 * pad - filter_h) // stride + 1, (w + 2 * pad - filter_w) // stride + 1
    if pad:
        padded = xp.zeros((n, c, h + 2 * pad, w + 2 * pad), dtype=images.dtype)
        padded[:, :, pad : pad + h, pad : pad + w] = images
        images = padded
    columns = xp.empty((n, out_h, out_w, c, filter_h, filter_w), dtype=images.dtype)
    for y in range(filter_h):
        for x in range(filter_w):
            part = images[:, :, y : y + stride * out_h : stride, x : x + stride * out_w : stride]
            columns[:, :, :, :, y, x] = xp.permute_dims(part, (0, 2, 3, 1))
    return xp.reshape(columns, (n * out_h * out_w, -1))


def from_columns(
    ops: Ops, columns: Array, shape: tuple[int, ...], filter_h: int, filter_w: int, stride: int, pad: int
) -> Array:
    """Do what `col2im` does, for native arrays."""
    xp = ops.xp
    n, c, h, w = shape
    out_h, out_w = (h + 2 * pad - filter_h) // stride + 1, (w + 2 * pad - filter_w) // stride + 1
    columns = xp.permute_dims(xp.reshape(columns, (n, out_h, out_w, c, filter_h, filter_w)), (0, 3, 4, 5, 1, 2))
    images = xp.zeros((n, c, h + 2 * pad + stride - 1, w + 2 * pad + stride - 1), dtype=columns.dtype)
    for y in range(filter_h):
        for x in range(filter_w):
            images[:, :, y : y + stride * out_h : stride, x : x + stride * out_w : stride] += columns[:, :, y, x]
    return images[:, :, pad : pad + h, pad : pad + w]
