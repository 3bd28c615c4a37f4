"""Mean squared error with the gradient."""

from ._jit import kernel


@kernel("mmvmvi")
def squared_error(z, t, bias, dz, db, of):
    """sum((z + bias - t)**2) / 2; dz = (z + bias - t) / of, db its column sums. of: the rows of the whole batch."""
    n, c = z.shape
    share = z.dtype.type(1) / z.dtype.type(of)
    loss = 0.0
    db[:] = 0
    for i in range(n):
        row = z.dtype.type(0)
        for j in range(c):
            d = z[i, j] - t[i, j]
            if bias.size:
                d += bias[j]
            row += d * d
            dz[i, j] = d * share
        loss += row
        for j in range(db.size):
            db[j] += dz[i, j]
    return loss / 2
