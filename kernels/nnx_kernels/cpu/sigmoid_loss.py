"""Binary cross-entropy of logits, column by column, with the gradient."""

import math

from ._jit import kernel
from .exp import exp


@kernel("mmvvmvi")
def sigmoid_cross_entropy(z, t, weight, bias, dz, db, of):
    """The sum of log(1 + exp(v)) - t * v, v = z + bias; dz = (sigmoid(v) - t) / of, db its column sums.

    weight: factors of the rows, or empty. of: the rows of the whole batch, of which z may be a part.
    """
    n, c = z.shape
    zero, one = z.dtype.type(0), z.dtype.type(1)
    share = one / z.dtype.type(of)
    loss = 0.0
    db[:] = 0
    for i in range(n):
        row = zero
        w = weight[i] if weight.size else one
        factor = w * share
        for j in range(c):
            v = z[i, j]
            if bias.size:
                v += bias[j]
            e = exp(-abs(v))
            row += (zero if v < zero else v) - t[i, j] * v + math.log1p(e)
            dz[i, j] = ((e if v < zero else one) / (one + e) - t[i, j]) * factor
        loss += w * row
        for j in range(db.size):
            db[j] += dz[i, j]
    return loss
