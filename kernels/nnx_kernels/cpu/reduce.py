"""Reductions to one number."""

from ._jit import kernel


@kernel("vd", writes="sums", rows="x", sums="sums")
def sum_squares(x, sums):
    """Compute sums[0] = sum(x**2), added up in float64 from sums of 4,096 elements in the array's own dtype."""
    total = 0.0
    for first in range(0, x.size, 4096):
        block = x[first : first + 4096]
        part = x.dtype.type(0)
        for i in range(block.size):
            part += block[i] * block[i]
        total += part
    sums[0] = total


@kernel("ml", writes="")
def count_correct(y, t):
    """Count the rows that have their first maximum at the label; a NaN counts as the maximum."""
    n, c = y.shape
    right = 0
    for i in range(n):
        best = 0
        for j in range(1, c):
            # Not (<=): also true where y[i, j] is NaN and the best so far is not.
            if not (y[i, j] <= y[i, best]) and y[i, best] == y[i, best]:
                best = j
        right += best == t[i]
    return right
