"""Rows of a data set: the gather of a batch."""

from ._jit import kernel


@kernel("Ulsm")
def take_bytes(data, index, factor, out):
    """Compute out = data[index] * factor, from unsigned bytes."""
    real = out.dtype.type
    for i in range(index.size):
        row = index[i]
        for j in range(out.shape[1]):
            out[i, j] = real(data[row, j]) * factor


@kernel("mlsm")
def take_scaled(data, index, factor, out):
    """Compute out = data[index] * factor."""
    for i in range(index.size):
        row = index[i]
        for j in range(out.shape[1]):
            out[i, j] = data[row, j] * factor
