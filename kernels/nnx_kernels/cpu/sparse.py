"""Products with matrices that are mostly zeros, such as images of strokes: zeros are found once and skipped.

A sparse matrix is `values`, their `columns`, and `starts`, of which row i's lie from starts[i] to starts[i + 1].
"""

from ._jit import kernel


@kernel("mvWli")
def compress(x, values, columns, starts, limit):
    """x in that form; the number of values, or -1 as soon as there are more than `limit`.

    values and columns need room for limit + 2 * x.shape[1].
    """
    count = 0
    for i in range(x.shape[0]):
        starts[i] = count
        row, into, at = x[i], values[count:], columns[count:]
        found = 0
        for k in range(row.size):  # without a branch, which would be mispredicted at every stroke
            into[found] = row[k]
            at[found] = k
            found += row[k] != 0
        count += found
        if count > limit:
            return -1
    starts[x.shape[0]] = count
    return count


@kernel("vWlvWl")
def transpose(values, columns, starts, values_t, rows, starts_t):
    """The transposed matrix in the same form, by counting."""
    n = starts.size - 1
    count = starts[n]
    starts_t[:] = 0
    for p in range(count):
        starts_t[columns[p] + 1] += 1
    for k in range(starts_t.size - 1):
        starts_t[k + 1] += starts_t[k]
    for i in range(n):
        for p in range(starts[i], starts[i + 1]):
            to = starts_t[columns[p]]
            values_t[to] = values[p]
            rows[to] = i
            starts_t[columns[p]] = to + 1
    for k in range(starts_t.size - 1, 0, -1):
        starts_t[k] = starts_t[k - 1]
    starts_t[0] = 0


@kernel("vWlmvm")
def product(values, columns, starts, w, b, y):
    """y = (the sparse matrix) @ w + b; b may be empty. Eight rows of w at a time, for one pass over the row of y."""
    for i in range(y.shape[0]):
        out = y[i]
        if b.size:
            for j in range(out.size):
                out[j] = b[j]
        else:
            out[:] = 0
        p, end = starts[i], starts[i + 1]
        while p + 8 <= end:
            w0, w1, w2, w3 = w[columns[p]], w[columns[p + 1]], w[columns[p + 2]], w[columns[p + 3]]
            w4, w5, w6, w7 = w[columns[p + 4]], w[columns[p + 5]], w[columns[p + 6]], w[columns[p + 7]]
            v0, v1, v2, v3 = values[p], values[p + 1], values[p + 2], values[p + 3]
            v4, v5, v6, v7 = values[p + 4], values[p + 5], values[p + 6], values[p + 7]
            for j in range(out.size):
                out[j] += (v0 * w0[j] + v1 * w1[j] + v2 * w2[j] + v3 * w3[j]) + (
                    v4 * w4[j] + v5 * w5[j] + v6 * w6[j] + v7 * w7[j]
                )
            p += 8
        while p < end:
            w0, v0 = w[columns[p]], values[p]
            for j in range(out.size):
                out[j] += v0 * w0[j]
            p += 1
