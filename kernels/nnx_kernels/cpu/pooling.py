"""Pooling, and pictures with their axes swapped: one picture after the other, the channels in the innermost loops.

sizes: height, width and channels of a picture, those of the result without the channels, and of the window size, stride
and pad, each down and across.
"""

from ._jit import inlined, kernel


@inlined
def _reach(place, stride, pad, size, length):
    """Return where a window begins, and from which to which of its elements it lies on the picture."""
    start = place * stride - pad
    return start, max(0, -start), min(size, length - start)


@kernel("RmPl", rows="x y index")
def max_pooling(x, y, index, sizes):
    """Compute the greatest number of each window, and which one it is; NaN is greater than all others."""
    h, w, c, oh, ow, kh, kw, sh, sw, ph, pw = sizes
    for s in range(len(x)):
        for r in range(oh):
            top, low, high = _reach(r, sh, ph, kh, h)
            for q in range(ow):
                left, first, last = _reach(q, sw, pw, kw, w)
                to = (r * ow + q) * c
                best, which = y[s, to : to + c], index[s, to : to + c]
                start = ((top + low) * w + left + first) * c
                best[:] = x[s, start : start + c]
                which[:] = low * kw + first
                for i in range(low, high):
                    for j in range(first, last):
                        start = ((top + i) * w + left + j) * c
                        number, k = x[s, start : start + c], i * kw + j
                        for ch in range(c):
                            a, b = best[ch], number[ch]
                            greater = (b > a) | ((b != b) & (a == a))
                            best[ch] = b if greater else a
                            which[ch] = k if greater else which[ch]


@kernel("RPml", rows="dy index dx")
def max_pooling_backward(dy, index, dx, sizes):
    """Compute dx: dy at the elements of the windows that were the greatest, added up."""
    h, w, c, oh, ow, kh, kw, sh, sw, ph, pw = sizes
    for s in range(len(dy)):
        dx[s] = 0
        for r in range(oh):
            top, low, high = _reach(r, sh, ph, kh, h)
            for q in range(ow):
                left, first, last = _reach(q, sw, pw, kw, w)
                of = (r * ow + q) * c
                given, which = dy[s, of : of + c], index[s, of : of + c]
                for i in range(low, high):
                    for j in range(first, last):
                        start = ((top + i) * w + left + j) * c
                        to, k = dx[s, start : start + c], i * kw + j
                        for ch in range(c):
                            to[ch] += given[ch] if which[ch] == k else dx.dtype.type(0)


@kernel("Rml", rows="x y")
def average_pooling(x, y, sizes):
    """Compute the mean of each window."""
    h, w, c, oh, ow, kh, kw, sh, sw, ph, pw = sizes
    share = x.dtype.type(1) / x.dtype.type(kh * kw)
    for s in range(len(x)):
        for r in range(oh):
            top, low, high = _reach(r, sh, ph, kh, h)
            for q in range(ow):
                left, first, last = _reach(q, sw, pw, kw, w)
                of = (r * ow + q) * c
                mean = y[s, of : of + c]
                mean[:] = 0
                for i in range(low, high):
                    for j in range(first, last):
                        start = ((top + i) * w + left + j) * c
                        number = x[s, start : start + c]
                        for ch in range(c):
                            mean[ch] += number[ch]
                for ch in range(c):
                    mean[ch] *= share


@kernel("Rml", rows="dy dx")
def average_pooling_backward(dy, dx, sizes):
    """Compute dx: dy divided among the elements of the windows, added up."""
    h, w, c, oh, ow, kh, kw, sh, sw, ph, pw = sizes
    share = dy.dtype.type(1) / dy.dtype.type(kh * kw)
    for s in range(len(dy)):
        dx[s] = 0
        for r in range(oh):
            top, low, high = _reach(r, sh, ph, kh, h)
            for q in range(ow):
                left, first, last = _reach(q, sw, pw, kw, w)
                of = (r * ow + q) * c
                given = dy[s, of : of + c]
                for i in range(low, high):
                    for j in range(first, last):
                        start = ((top + i) * w + left + j) * c
                        to = dx[s, start : start + c]
                        for ch in range(c):
                            to[ch] += given[ch] * share


@kernel("Rmi", rows="x y")
def swap_axes(x, y, rows):
    """Compute matrices y with the axes of x swapped; x's have so many rows. In squares of eight."""
    columns = x.shape[1] // rows
    for s in range(len(x)):
        for i0 in range(0, rows, 8):
            for j0 in range(0, columns, 8):
                for j in range(j0, min(j0 + 8, columns)):
                    for i in range(i0, min(i0 + 8, rows)):
                        y[s, j * rows + i] = x[s, i * columns + j]
