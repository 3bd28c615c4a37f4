"""Mean squared error with the gradient."""

from ._jit import kernel


@kernel("mmvvmvi")
def squared_error(z, t, weight, bias, dz, db, of):
    """sum((z + bias - t)**2) / 2; dz = (z + bias - t) / of, db its column sums. of: the rows of the whole batch.

    weight: factors of the rows, or empty.
    """
    n, c = z.shape
    one = z.dtype.type(1)
    share = one / z.dtype.type(of)
    loss = 0.0
    db[:] = 0
    for i in range(n):
        row = z.dtype.type(0)
        w = weight[i] if weight.size else one
        factor = w * share
        for j in range(c):
            d = z[i, j] - t[i, j]
            if bias.size:
                d += bias[j]
            row += d * d
            dz[i, j] = d * factor
        loss += w * row
        for j in range(db.size):
            db[j] += dz[i, j]
    return loss / 2
