"""What follows a matrix product: the bias, and ReLU."""

from ._jit import kernel


@kernel("mv")
def add_bias(y, b):
    """y += b."""
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] += b[j]


@kernel("mv")
def add_bias_relu(y, b):
    """y = max(y + b, 0)."""
    zero = y.dtype.type(0)
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            v = y[i, j] + b[j]
            y[i, j] = zero if v < zero else v


@kernel("mv")
def column_sums(x, sums):
    """sums = the sums of x's columns."""
    sums[:] = 0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            sums[j] += x[i, j]
