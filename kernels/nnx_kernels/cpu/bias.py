"""The bias after a matrix product, and its gradient."""

from ._jit import kernel


@kernel("mv")
def add_bias(y, b):
    """Compute y += b."""
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] += b[j]


@kernel("mv")
def column_sums(x, sums):
    """Compute the sums of x's columns."""
    sums[:] = 0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            sums[j] += x[i, j]
