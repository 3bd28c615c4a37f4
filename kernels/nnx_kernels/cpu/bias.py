"""The bias after a matrix product, and its gradient."""

from ._jit import kernel


@kernel("mv", writes="y", rows="y")
def add_bias(y, b):
    """Compute y += b."""
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] += b[j]


@kernel("mv", writes="sums", rows="x", sums="sums")
def column_sums(x, sums):
    """Compute the sums of x's columns."""
    sums[:] = 0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            sums[j] += x[i, j]


@kernel("v", writes="sums")
def clear(sums):
    """Set sums to 0."""
    sums[:] = 0
