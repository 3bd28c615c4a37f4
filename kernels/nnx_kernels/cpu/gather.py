"""Rows of a data set: the gather of a batch."""

from ._jit import kernel
from .fetch import fetch_ahead


@kernel("Ulvm", writes="out", rows="index out")
def take_bytes(data, index, scale, out):
    """Compute out = data[index] * scale[0], from unsigned bytes."""
    real, factor = out.dtype.type, scale[0]
    for i in range(index.size):
        fetch_ahead(data, index, i)
        row = index[i]
        for j in range(out.shape[1]):
            out[i, j] = real(data[row, j]) * factor


@kernel("Rlvm", writes="out", rows="index out")
def take_scaled(data, index, scale, out):
    """Compute out = data[index] * scale[0]."""
    factor = scale[0]
    for i in range(index.size):
        fetch_ahead(data, index, i)
        row = index[i]
        for j in range(out.shape[1]):
            out[i, j] = data[row, j] * factor


@kernel("Rlm", writes="out", rows="index out")
def take_rows(data, index, out):
    """Compute out = data[index]."""
    for i in range(index.size):
        fetch_ahead(data, index, i)
        row = index[i]
        for j in range(out.shape[1]):
            out[i, j] = data[row, j]


@kernel("lll", writes="out", rows="index out")
def take_labels(data, index, out):
    """Compute out = data[index]."""
    for i in range(index.size):
        out[i] = data[index[i]]
