"""Every operation, composed from the required members of a backend and Array API names: this is the specification.

A backend overrides an operation by a method of the same name (without the leading `ops`), and may decline an input by
returning `NotImplemented` before it has written anything. Conventions:

- `n` rows, `c` classes or channels. `ops.xp` is the backend's Array API namespace.
- Pictures are (n, height, width, channels): what holds for the columns of a matrix holds for the channels, and a matrix
  of pixels, (n * height * width, channels), is the same memory. `size`, `stride` and `pad` are pairs: down, across.
- Arrays are native, and unless said otherwise of one floating dtype.
- A trailing underscore: the first arguments are mutated, and None is returned. Nothing else mutates an input.
- `out`, `dx`, `dw`, `db`, `dz`, `mask`, `mean`, `var` are written if given, not added to, and never overlap an input.
- `db` is the gradient of a bias that was added below: the sums over all axes but the last of the gradient returned.
- `formula` is an `nnx.formula.Formula`: what an operation does with one element.
- `hyper` is a 1-D array in the parameters' dtype, derived in float64 on the host. A Python number would be baked into a
  captured CUDA graph. The last entry of every optimizer's is `grad_scale`; the leading `decay` elements of the flat
  buffers are under weight decay.
- `guard` is a 0-d array: where it is not finite nothing is updated, so that parameters survive a loss that is not.
- No operation copies to the host or waits for the device.
"""

import math
from typing import TYPE_CHECKING, Any

from .protocol import Array, Pair

if TYPE_CHECKING:
    from ..formula import Formula


def _widened(ops: Any, x: Array, w: Array) -> Array:
    """Return x in w's dtype: `matmul` need not take two."""
    return x if x.dtype == w.dtype else ops.xp.astype(x, w.dtype)


def _write(out: Array | None, value: Array) -> Array:
    if out is None:
        return value
    out[...] = value
    return out


# Memory ---------------------------------------------------------------------------------------------------------------


def allocate(ops: Any, size: int, dtype: str) -> Array:
    """Allocate a zeroed 1-D buffer of `size` elements.

    A backend aligns it to 128 bytes where its memory is not so by itself.

    Args:
        ops: the bound operations.
        size: how many elements.
        dtype: the name of its dtype, such as "float32".
    """
    return ops.xp.zeros((size,), dtype=getattr(ops.xp, dtype))


def take(ops: Any, data: Array, index: Array, scale: Array | None = None, *, out: Array | None = None) -> Array:
    """Gather the rows `data[index]`, multiplied by `scale` if that is given.

    Args:
        ops: the bound operations.
        data: (N, ...) of any dtype.
        index: (n,) int64, each in 0..N-1 (the caller has checked it).
        scale: 0-d; the result is in its dtype (uint8 images become floats).
        out: (n, ...), receives the result.
    """
    rows = ops.xp.take(data, index, axis=0)
    if scale is not None:
        rows = ops.xp.astype(rows, scale.dtype) * scale
    return _write(out, rows)


def capture(ops: Any, step: Any, example_inputs: tuple[Array, ...]) -> Any:
    """Return a callable that does what `step` does, for inputs of the shapes and dtypes of `example_inputs`.

    Here it runs `step` itself. On a GPU it is one CUDA graph; what runs on the way to its capture are the first steps
    of the training. Inputs may be on the host: a backend that captures uploads them, so that `step` sees native arrays
    alone.

    Args:
        ops: the bound operations.
        step: returns a 0-d array, or a list of k of them, which the callable returns as one array (k,).
        example_inputs: those of the first call.
    """

    def run(*inputs: Array) -> Array:
        result = step(*inputs)
        return ops.xp.stack(result) if isinstance(result, list) else result

    return run


# Layers ---------------------------------------------------------------------------------------------------------------


def affine(
    ops: Any,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    activation: "Formula | None" = None,
    out: Array | None = None,
) -> Array:
    """Return x @ w + b, or the activation of that.

    Args:
        ops: the bound operations.
        x: (n, i); float32 where all else is float64, too: the products are of float64 then.
        w: (i, o).
        b: (o,), or None for no bias.
        activation: a formula as for `activation`, or None.
        out: (n, o), receives the result.
    """
    y = ops.matmul(_widened(ops, x, w), w, out=out)
    if b is not None:
        y = _write(out, y + b)
    return y if activation is None else _write(out, ops.activation(activation, y))


def affine_backward(
    ops: Any,
    dy: Array,
    x: Array,
    w: Array,
    *,
    dx: Array | None = None,
    dw: Array | None = None,
    db: Array | None = None,
) -> None:
    """Write the gradients of `affine` without an activation: dx = dy @ w.T, dw = x.T @ dy, db = the column sums of dy.

    Args:
        ops: the bound operations.
        dy: (n, o), the gradient of the result.
        x: (n, i), the input; float32 where all else is float64, too.
        w: (i, o), the weights.
        dx: (n, i).
        dw: (i, o).
        db: (o,).
    """
    if dw is not None:
        ops.matmul(_widened(ops, x, w).T, dy, out=dw)
    if db is not None:
        db[...] = ops.xp.sum(dy, axis=0)
    if dx is not None:
        ops.matmul(dy, w.T, out=dx)


def activation(ops: Any, formula: "Formula", x: Array, *, out: Array | None = None) -> Array:
    """Return the formula's y of each element of x. NaN stays NaN.

    Args:
        ops: the bound operations.
        formula: makes y of x.
        x: of any shape.
        out: of x's shape, receives the result.
    """
    return _write(out, formula.on_arrays(ops.xp, x=x)[0])


def activation_backward(
    ops: Any,
    formula: "Formula",
    dy: Array,
    x: Array | None,
    y: Array,
    *,
    out: Array | None = None,
    db: Array | None = None,
) -> Array:
    """Return the formula's dx of each dy, x and y.

    Args:
        ops: the bound operations.
        formula: makes dx of dy, x and y.
        dy: the gradient of y.
        x: the input of `activation`, or None where the formula does not use it.
        y: the result of `activation`.
        out: receives the result.
        db: (c,), the sums of the result, (n, ..., c), over all axes but the last.
    """
    (dx,) = formula.on_arrays(ops.xp, dy=dy, x=x, y=y)
    return _with_column_sums(ops, dx, out, db)


def _with_column_sums(ops: Any, dx: Array, out: Array | None, db: Array | None) -> Array:
    if db is not None:
        db[...] = ops.xp.sum(dx, axis=tuple(range(dx.ndim - 1)))
    return _write(out, dx)


def batch_norm(
    ops: Any,
    x: Array,
    gamma: Array,
    beta: Array,
    hyper: Array,
    *,
    out: Array | None = None,
    mean: Array | None = None,
    var: Array | None = None,
) -> Array:
    """Return gamma * (x - mean) / sqrt(var + eps) + beta, with mean and biased variance over the rows.

    From Ioffe & Szegedy (2015), "Batch normalization".

    Args:
        ops: the bound operations.
        x: (n, c).
        gamma: (c,).
        beta: (c,).
        hyper: [eps, momentum, 1 - momentum].
        out: (n, c), receives the result.
        mean: (c,), receives the batch's mean.
        var: (c,), receives the batch's variance.
    """
    batch_mean = ops.xp.mean(x, axis=0)
    centred = x - batch_mean
    batch_var = ops.xp.mean(centred * centred, axis=0)
    if mean is not None:
        mean[...] = batch_mean
    if var is not None:
        var[...] = batch_var
    return _write(out, centred * (gamma / ops.xp.sqrt(batch_var + hyper[0])) + beta)


def batch_norm_backward(
    ops: Any,
    dy: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    var: Array,
    hyper: Array,
    *,
    out: Array | None = None,
    dgamma: Array | None = None,
    dbeta: Array | None = None,
    db: Array | None = None,
) -> Array:
    """Return the gradient of `batch_norm` with respect to x, through the batch's own mean and variance.

    db is exactly zero, since the normalisation removes a bias below it. Adam would blow up rounding noise in its place
    to full steps.

    Args:
        ops: the bound operations.
        dy: (n, c), the gradient of the result.
        x: (n, c), the input.
        gamma: (c,).
        mean: (c,), the batch's.
        var: (c,), the batch's.
        hyper: as for `batch_norm`.
        out: (n, c), receives the result.
        dgamma: (c,), written if given.
        dbeta: (c,), written if given.
        db: (c,).
    """
    xp = ops.xp
    std = xp.sqrt(var + hyper[0])
    normalised = (x - mean) / std
    sum_dy = xp.sum(dy, axis=0)
    sum_dy_normalised = xp.sum(dy * normalised, axis=0)
    if dgamma is not None:
        dgamma[...] = sum_dy_normalised
    if dbeta is not None:
        dbeta[...] = sum_dy
    if db is not None:
        db[...] = xp.zeros_like(db)
    n = x.shape[0]
    return _write(out, (gamma / std) * (dy - sum_dy / n - normalised * (sum_dy_normalised / n)))


def batch_norm_inference(
    ops: Any,
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    hyper: Array,
    *,
    out: Array | None = None,
) -> Array:
    """Return `batch_norm` with the running mean and variance in place of the batch's.

    Args:
        ops: the bound operations.
        x: (n, c).
        gamma: (c,).
        beta: (c,).
        mean: (c,), the running one.
        var: (c,), the running one.
        hyper: as for `batch_norm`.
        out: (n, c), receives the result.
    """
    return _write(out, (x - mean) * (gamma / ops.xp.sqrt(var + hyper[0])) + beta)


# Pictures -------------------------------------------------------------------------------------------------------------


def _output_size(shape: tuple[int, ...], size: Pair, stride: Pair, pad: Pair) -> Pair:
    """Return how many places a window of this size has on pictures (n, h, w, c)."""
    down, across = ((shape[i + 1] + 2 * pad[i] - size[i]) // stride[i] + 1 for i in range(2))
    return down, across


def _padded(ops: Any, x: Array, pad: Pair, value: float = 0.0) -> Array:
    if pad == (0, 0):
        return x
    n, h, w, c = x.shape
    padded = ops.xp.full((n, h + 2 * pad[0], w + 2 * pad[1], c), value, dtype=x.dtype)
    padded[:, pad[0] : pad[0] + h, pad[1] : pad[1] + w, :] = x
    return padded


def _places(shape: tuple[int, ...], size: Pair, stride: Pair, pad: Pair) -> list[tuple[slice, ...]]:
    """Return, for each element of a window in row-major order, where it lies on padded pictures: (n, oh, ow, c)."""
    oh, ow = _output_size(shape, size, stride, pad)
    return [
        (
            slice(None),
            slice(i, i + (oh - 1) * stride[0] + 1, stride[0]),
            slice(j, j + (ow - 1) * stride[1] + 1, stride[1]),
            slice(None),
        )
        for i in range(size[0])
        for j in range(size[1])
    ]


def _added(ops: Any, parts: list[Array], shape: tuple[int, ...], size: Pair, stride: Pair, pad: Pair) -> Array:
    """Return pictures of a shape in which the parts, one for each element of a window, are added up at their places."""
    n, h, w, c = shape
    padded = ops.xp.zeros((n, h + 2 * pad[0], w + 2 * pad[1], c), dtype=parts[0].dtype)
    for place, part in zip(_places(shape, size, stride, pad), parts, strict=True):
        padded[place] = padded[place] + part
    return padded[:, pad[0] : pad[0] + h, pad[1] : pad[1] + w, :]


def _patches(ops: Any, x: Array, size: Pair, stride: Pair, pad: Pair) -> Array:
    """Return what lies under a window at each of its places as a row: (n * oh * ow, kh * kw * c)."""
    padded = _padded(ops, x, pad)
    parts = [padded[place] for place in _places(x.shape, size, stride, pad)]
    return ops.xp.reshape(ops.xp.concat(parts, axis=3), (-1, len(parts) * x.shape[3]))


def convolution(
    ops: Any,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Pair = (1, 1),
    pad: Pair = (0, 0),
    activation: "Formula | None" = None,
    out: Array | None = None,
) -> Array:
    """Return the cross-correlation of pictures with filters, plus b; or the activation of that.

    y[n, i, j, f] = b[f] + sum over p, q, c of x[n, i * stride + p - pad, j * stride + q - pad, c] * w[f, c, p, q]; x is
    0 beyond its borders.

    Args:
        ops: the bound operations.
        x: (n, h, w, c).
        w: (f, c, kh, kw), the filters.
        b: (f,), or None for no bias.
        stride: by how many pixels the filter moves.
        pad: how many zeros there are around the pictures, at each side.
        activation: a formula as for `activation`, or None.
        out: (n, oh, ow, f), receives the result; oh = (h + 2 * pad - kh) // stride + 1, at least 1, and so ow.
    """
    xp, size = ops.xp, (w.shape[2], w.shape[3])
    rows = _patches(ops, x, size, stride, pad)
    y = ops.matmul(rows, xp.reshape(xp.permute_dims(w, (2, 3, 1, 0)), (rows.shape[1], w.shape[0])))
    if b is not None:
        y = y + b
    y = _write(out, xp.reshape(y, (x.shape[0], *_output_size(x.shape, size, stride, pad), w.shape[0])))
    return y if activation is None else _write(out, ops.activation(activation, y))


def convolution_backward(
    ops: Any,
    dy: Array,
    x: Array,
    w: Array,
    *,
    stride: Pair = (1, 1),
    pad: Pair = (0, 0),
    dx: Array | None = None,
    dw: Array | None = None,
    db: Array | None = None,
) -> None:
    """Write the gradients of `convolution` without an activation.

    Args:
        ops: the bound operations.
        dy: (n, oh, ow, f), the gradient of the result.
        x: (n, h, w, c), the input.
        w: (f, c, kh, kw), the filters.
        stride: as for `convolution`.
        pad: as for `convolution`.
        dx: (n, h, w, c).
        dw: (f, c, kh, kw).
        db: (f,), the sums of dy.
    """
    xp, (f, c, kh, kw) = ops.xp, w.shape
    rows = xp.reshape(dy, (-1, f))
    if dw is not None:
        by_patch = ops.matmul(_patches(ops, x, (kh, kw), stride, pad).T, rows)
        dw[...] = xp.permute_dims(xp.reshape(by_patch, (kh, kw, c, f)), (3, 2, 0, 1))
    if db is not None:
        db[...] = xp.sum(rows, axis=0)
    if dx is not None:
        parts = [xp.reshape(ops.matmul(rows, w[:, :, i, j]), (*dy.shape[:3], c)) for i in range(kh) for j in range(kw)]
        dx[...] = _added(ops, parts, x.shape, (kh, kw), stride, pad)


def _first_inside(ops: Any, like: Array, size: Pair, stride: Pair, pad: Pair) -> Array:
    """Return which element of each window is the first one on the picture, as uint8 of the shape of `like`."""
    xp = ops.xp
    row, column = (xp.arange(like.shape[i + 1], dtype=xp.int64) * -stride[i] + pad[i] for i in range(2))
    row, column = (xp.where(beyond > 0, beyond, 0 * beyond) for beyond in (row, column))
    element = xp.expand_dims(row, axis=1) * size[1] + xp.expand_dims(column, axis=0)
    return xp.zeros(like.shape, dtype=xp.uint8) + xp.astype(xp.expand_dims(element, axis=2), xp.uint8)


def max_pooling(
    ops: Any,
    x: Array,
    *,
    size: Pair,
    stride: Pair,
    pad: Pair = (0, 0),
    out: Array | None = None,
    index: Array | None = None,
) -> Array:
    """Return the greatest number of each window and channel. NaN is greater than all others.

    Args:
        ops: the bound operations.
        x: (n, h, w, c).
        size: of the window, at most 256 elements.
        stride: by how many pixels the window moves.
        pad: how many pixels around the pictures windows may lie over, less than `size`; they are never the greatest.
        out: (n, oh, ow, c), receives the result.
        index: uint8, (n, oh, ow, c), receives which element of the window it is, row by row: the first one of equals,
            always one on the picture.
    """
    xp = ops.xp
    padded = _padded(ops, x, pad, -math.inf)
    first, *others = (padded[place] for place in _places(x.shape, size, stride, pad))
    best, at = first, _first_inside(ops, first, size, stride, pad)
    for k, number in enumerate(others, start=1):
        greater = (number > best) | (xp.isnan(number) & ~xp.isnan(best))
        best = xp.where(greater, number, best)
        at = xp.where(greater, xp.full_like(at, k), at)
    if index is not None:
        index[...] = at
    return _write(out, best)


def max_pooling_backward(
    ops: Any,
    dy: Array,
    index: Array,
    *,
    shape: Pair,
    size: Pair,
    stride: Pair,
    pad: Pair = (0, 0),
    out: Array | None = None,
) -> Array:
    """Return the gradient of x: each of dy where its window had the greatest number, added up, and 0 elsewhere.

    Args:
        ops: the bound operations.
        dy: (n, oh, ow, c), the gradient of the result.
        index: uint8, as `max_pooling` wrote it.
        shape: (h, w) of x.
        size: as for `max_pooling`.
        stride: as for `max_pooling`.
        pad: as for `max_pooling`.
        out: (n, h, w, c), receives the result.
    """
    xp, zero = ops.xp, ops.xp.zeros_like(dy)
    parts = [xp.where(index == k, dy, zero) for k in range(size[0] * size[1])]
    return _write(out, _added(ops, parts, (dy.shape[0], *shape, dy.shape[3]), size, stride, pad))


def average_pooling(
    ops: Any, x: Array, *, size: Pair, stride: Pair, pad: Pair = (0, 0), out: Array | None = None
) -> Array:
    """Return the mean of each window and channel; beyond the borders x is 0, and counts.

    Args:
        ops: the bound operations.
        x: (n, h, w, c).
        size: of the window.
        stride: by how many pixels the window moves.
        pad: how many zeros there are around the pictures, at each side; less than `size`.
        out: (n, oh, ow, c), receives the result.
    """
    padded = _padded(ops, x, pad)
    first, *others = (padded[place] for place in _places(x.shape, size, stride, pad))
    for other in others:
        first = first + other
    return _write(out, first / (size[0] * size[1]))


def average_pooling_backward(
    ops: Any,
    dy: Array,
    *,
    shape: Pair,
    size: Pair,
    stride: Pair,
    pad: Pair = (0, 0),
    out: Array | None = None,
) -> Array:
    """Return the gradient of x: each of dy, divided among the elements of its window, and added up.

    Args:
        ops: the bound operations.
        dy: (n, oh, ow, c), the gradient of the result.
        shape: (h, w) of x.
        size: as for `average_pooling`.
        stride: as for `average_pooling`.
        pad: as for `average_pooling`.
        out: (n, h, w, c), receives the result.
    """
    count = size[0] * size[1]
    share = dy / count
    return _write(out, _added(ops, [share] * count, (dy.shape[0], *shape, dy.shape[3]), size, stride, pad))


def swap_axes(ops: Any, x: Array, *, out: Array | None = None) -> Array:
    """Return x with its last two axes swapped, in memory of its own: pixels by channels, or channels by pixels.

    Args:
        ops: the bound operations.
        x: (n, a, b).
        out: (n, b, a), receives the result.
    """
    swapped = ops.xp.permute_dims(x, (0, 2, 1))
    return _write(ops.xp.empty(swapped.shape, dtype=x.dtype) if out is None else out, swapped)


# Random numbers -------------------------------------------------------------------------------------------------------

_M0, _M1, _W0, _W1, _LOW = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85, 0xFFFFFFFF


def philox(ops: Any, rng: Array, size: int, row: int = 1) -> Array:
    """Return `size` uint32 random words of Philox4x32-10, from the word rng[6] * row of the stream on.

    From Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3". Word e of the stream is word e % 4 of the
    block with the counter (e // 4, layer, step low, step high) under the key (seed low, seed high): a function of
    integers, so that it has the same bits on every backend. A process that has the rows from rng[6] on of a batch, and
    `row` words for each, thus gets their words.

    Args:
        ops: the bound operations.
        rng: uint32 [seed low, seed high, layer, step low, step high, any, first row].
        size: how many words.
        row: how many words a row has.
    """
    xp = ops.xp
    wide = xp.astype(rng, xp.uint64)
    first = wide[6] * row
    c0 = xp.arange(size // 4 + 2, dtype=xp.uint64) + first // 4
    c1, c2, c3 = (xp.zeros_like(c0) + wide[i] for i in (2, 3, 4))
    k0, k1 = wide[0], wide[1]
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _LOW, (p0 >> 32) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    words = xp.reshape(xp.stack((c0, c1, c2, c3), axis=1), (-1,))
    places = xp.arange(size, dtype=xp.int64) + xp.astype(first % 4, xp.int64)
    return xp.astype(xp.take(words, places, axis=0), xp.uint32)


def dropout(
    ops: Any, x: Array, rng: Array, factor: Array, *, out: Array | None = None, mask: Array | None = None
) -> Array:
    """Return x * kept * factor, where an element is kept if its random word is at least the threshold.

    From Srivastava et al. (2014). Word e of `philox`, for rows as long as x's, belongs to the element e of x.

    Args:
        ops: the bound operations.
        x: (n, ...).
        rng: as for `philox`, and rng[5] the threshold floor(dropout_ratio * 2**32).
        factor: 0-d.
        out: of x's shape, receives the result.
        mask: bool, of x's shape, receives what was kept.
    """
    xp = ops.xp
    row = math.prod(x.shape[1:])
    kept = xp.reshape(ops.philox(rng, x.shape[0] * row, row) >= rng[5], x.shape)
    if mask is not None:
        mask[...] = kept
    return _write(out, x * xp.astype(kept, x.dtype) * factor)


def dropout_backward(
    ops: Any, dy: Array, mask: Array, factor: Array, *, out: Array | None = None, db: Array | None = None
) -> Array:
    """Return dy * mask * factor.

    Args:
        ops: the bound operations.
        dy: (n, ...), the gradient of the result.
        mask: bool, of dy's shape, as `dropout` wrote it.
        factor: 0-d, as for `dropout`.
        out: of dy's shape, receives the result.
        db: (c,), the sums of the result, (n, ..., c), over all axes but the last.
    """
    return _with_column_sums(ops, dy * ops.xp.astype(mask, dy.dtype) * factor, out, db)


# Losses and metrics ---------------------------------------------------------------------------------------------------


def softmax(ops: Any, x: Array, *, out: Array | None = None) -> Array:
    """Return exp(x) / sum(exp(x)) of each row, the row's maximum subtracted first.

    Args:
        ops: the bound operations.
        x: (n, c).
        out: (n, c), receives the result.
    """
    e = ops.xp.exp(x - ops.xp.max(x, axis=1, keepdims=True))
    return _write(out, e / ops.xp.sum(e, axis=1, keepdims=True))


def _one_hot(ops: Any, t: Array, like: Array) -> Array:
    xp = ops.xp
    classes = xp.arange(like.shape[1], dtype=t.dtype)
    return xp.astype(xp.expand_dims(t, axis=1) == xp.expand_dims(classes, axis=0), like.dtype)


def _weighted(ops: Any, x: Array, weight: Array | None) -> Array:
    return x if weight is None else x * ops.xp.expand_dims(weight, axis=1)


def _write_gradients(ops: Any, by_row: Array, weight: Array | None, dz: Array | None, db: Array | None) -> None:
    if dz is not None or db is not None:
        gradient = _weighted(ops, by_row, weight) / by_row.shape[0]
        if dz is not None:
            dz[...] = gradient
        if db is not None:
            db[...] = ops.xp.sum(gradient, axis=0)


def softmax_cross_entropy(
    ops: Any,
    z: Array,
    t: Array,
    *,
    weight: Array | None = None,
    bias: Array | None = None,
    dz: Array | None = None,
    db: Array | None = None,
) -> Array:
    """Return the mean over the rows of -sum(t * log(softmax(z + bias))), 0-d.

    A label outside 0..c-1 makes the loss NaN; the gradients are then unspecified (with that loss as `guard` they reach
    no parameter).

    Args:
        ops: the bound operations.
        z: (n, c).
        t: (n,) int64 labels, or (n, c) rows of probabilities that sum to 1.
        weight: (n,), here as in `loss`: factors of the rows' losses and gradients, before the mean over n. It is passed
            only where there are weights, so that a method without this argument is complete for all other trainings.
        bias: (c,), or None for none.
        dz: (n, c), receives (softmax - t) / n.
        db: (c,), the column sums of dz.
    """
    xp = ops.xp
    n, c = z.shape
    if bias is not None:
        z = z + bias
    z = z - xp.max(z, axis=1, keepdims=True)
    e = xp.exp(z)
    total = xp.sum(e, axis=1, keepdims=True)
    target = _one_hot(ops, t, z) if t.ndim == 1 else t
    # log(total) - z, not log(softmax): the latter is -inf where softmax underflows.
    loss = xp.sum(_weighted(ops, target * (xp.log(total) - z), weight)) / n
    if t.ndim == 1:
        valid = xp.all((t >= 0) & (t < c))
        loss = xp.where(valid, loss, xp.full_like(loss, xp.nan))
    _write_gradients(ops, e / total - target, weight, dz, db)
    return loss


def loss(
    ops: Any,
    formula: "Formula",
    z: Array,
    t: Array,
    hyper: Array | None = None,
    *,
    weight: Array | None = None,
    bias: Array | None = None,
    dz: Array | None = None,
    db: Array | None = None,
) -> Array:
    """Return the mean over the rows of the sum of the formula's `loss` of each z + bias and t, 0-d.

    Args:
        ops: the bound operations.
        formula: makes `loss` and `dz` of z and t.
        z: (n, c).
        t: (n, c).
        hyper: the formula's scalars in their order, None if it has none.
        weight: (n,), as for `softmax_cross_entropy`.
        bias: (c,), or None for none.
        dz: (n, c), receives the formula's `dz` / n.
        db: (c,), the column sums of dz.
    """
    scalars = {name: hyper[i] for i, name in enumerate(formula.scalars)} if hyper is not None else {}
    losses, gradients = formula.on_arrays(ops.xp, z=z if bias is None else z + bias, t=t, **scalars)
    _write_gradients(ops, gradients, weight, dz, db)
    return ops.xp.sum(_weighted(ops, losses, weight)) / z.shape[0]


def count_correct(ops: Any, y: Array, t: Array) -> Array:
    """Count the rows of y that have their first maximum at the label: 0-d int64.

    Args:
        ops: the bound operations.
        y: (n, c).
        t: (n,) int64 labels, or (n, c) rows whose first maximum is at the label.
    """
    xp = ops.xp
    label = t if t.ndim == 1 else xp.argmax(t, axis=1)
    return xp.sum(xp.astype(xp.argmax(y, axis=1) == label, xp.int64))


def sum_squares(ops: Any, x: Array) -> Array:
    """Return sum(x**2), 0-d, in x's dtype."""
    return ops.xp.sum(x * x)


def global_norm(ops: Any, x: Array) -> Array:
    """Return sqrt(sum(x**2)), 0-d: the Euclidean norm of a whole gradient buffer."""
    return ops.xp.sqrt(ops.sum_squares(x))


# Mixed precision ------------------------------------------------------------------------------------------------------

_FORMATS = {"bfloat16": (8, 2.0**-133, (2 - 2.0**-7) * 2.0**127), "float16": (11, 2.0**-24, 65504.0)}
"""Digits, the least and the greatest number."""


def narrow(ops: Any, x: Array, precision: str, *, out: Array | None = None) -> Array:
    """Round x to the nearest number of a 16-bit format, ties to even; beyond its greatest number to infinity.

    Args:
        ops: the bound operations.
        x: float32.
        precision: "bfloat16" or "float16".
        out: an earlier result of this shape and precision.

    Returns:
        An array in a dtype of the backend's own choice: the narrow one where that makes products fast; here float32,
        which holds the same numbers. Such arrays, all of one precision, serve as x, w and dy of `affine` and
        `affine_backward` (without db), whose other arguments and results are float32.
    """
    xp = ops.xp
    digits, least, greatest = _FORMATS[precision]
    large = xp.abs(x) > 2.0**100
    y = xp.where(large, x * 2.0**-32, x)  # so that what follows does not overflow
    # The power of two below |y| (Rump, Zimmermann, Boldo & Melquiond 2009), then the distance of y's neighbours in the
    # format. The sum with so large a number is rounded to multiples of that distance.
    q = y * (2.0**23 + 1)
    power = xp.abs(q - q * (1 - 2.0**-24))
    quantum = xp.maximum(power * 2.0 ** (1 - digits), xp.full_like(power, least))
    shift = quantum * (1.5 * 2.0**23)
    y = (y + shift) - shift
    y = xp.where(large, y * 2.0**32, y)
    y = y * xp.where(xp.abs(y) > greatest, xp.full_like(y, xp.inf), xp.ones_like(y))
    y = xp.where(y == 0, x * 0, y)  # zeros keep x's sign
    return _write(out, xp.where(xp.isfinite(x), y, x))


def rescale_(ops: Any, x: Array, scaling: Array) -> None:
    """Multiply x by the loss scale, so that small gradients do not vanish in float16.

    Args:
        ops: the bound operations.
        x: of any shape.
        scaling: as for `unscale_`.
    """
    x[...] = x * scaling[0]


def unscale_(ops: Any, hyper: Array, norm: Array, scaling: Array) -> None:
    """Divide grad_scale, the last entry of an optimizer's `hyper`, by the loss scale, and adapt that.

    The scale is halved (but not below 1) where the gradients are not finite, and doubled (but not beyond 2**24) after
    as many finite ones in succession as the interval says (Micikevicius et al. 2018, "Mixed precision training").

    Args:
        ops: the bound operations.
        hyper: the optimizer's scalars.
        norm: 0-d, of the scaled gradients.
        scaling: [scale, finite ones so far, interval].
    """
    xp = ops.xp
    scale, one = scaling[0], xp.ones_like(scaling[0])
    hyper[-1] = hyper[-1] / scale
    finite = xp.isfinite(norm)
    so_far = xp.where(finite, scaling[1] + 1, 0 * one)
    due = so_far >= scaling[2]
    scaling[0] = xp.where(
        finite, xp.where(due, xp.minimum(scale * 2, 2.0**24 * one), scale), xp.maximum(scale / 2, one)
    )
    scaling[1] = xp.where(due, 0 * one, so_far)


# Optimizers -----------------------------------------------------------------------------------------------------------


def _update(ops: Any, guard: Array | None, *pairs: tuple[Array, Array]) -> None:
    for target, value in pairs:
        target[...] = value if guard is None else ops.xp.where(ops.xp.isfinite(guard), value, target)


def clip_(ops: Any, hyper: Array, norm: Array, limit: Array) -> None:
    """Lower grad_scale, the last entry of an optimizer's `hyper`, so that grad_scale * norm is at most `limit`.

    Args:
        ops: the bound operations.
        hyper: the optimizer's scalars.
        norm: 0-d, of the gradients as they are in their buffer.
        limit: 0-d.
    """
    norm = norm * hyper[-1]
    hyper[-1] = hyper[-1] * (limit / ops.xp.maximum(norm, limit))


def update_(
    ops: Any, formula: "Formula", hyper: Array, *arrays: Array, decay: int = 0, guard: Array | None = None
) -> None:
    """Update arrays in place, as in a step of an optimizer: the formula's outputs replace the arrays of their names.

    Args:
        ops: the bound operations.
        formula: its scalar `weight_decay`, if it has one, counts as 0 except in the leading `decay` elements.
        hyper: the formula's scalars in their order.
        *arrays: its inputs in their order, the first being the parameters, of one shape.
        decay: how many elements, in row-major order, are under weight decay.
        guard: 0-d; unless it is finite, nothing is updated.
    """
    xp = ops.xp
    scalars = {name: hyper[i] for i, name in enumerate(formula.scalars)}
    values = formula.on_arrays(xp, **dict(zip(formula.inputs, arrays, strict=True)), **scalars)
    if "weight_decay" in scalars:
        plain = formula.fix(weight_decay=0.0)
        others = plain.on_arrays(xp, **dict(zip(formula.inputs, arrays, strict=True)), **scalars)
        size = math.prod(arrays[0].shape)
        decayed = xp.reshape(xp.arange(size) < decay, arrays[0].shape)
        values = tuple(xp.where(decayed, a, b) for a, b in zip(values, others, strict=True))
    targets = [arrays[formula.inputs.index(name)] for name in formula.outputs]
    # A result that is an input is copied before another result is written there; xp.positive need not copy.
    kept = tuple(
        xp.where(xp.isfinite(v), v, v) if r in formula.inputs else v
        for r, v in zip(formula.results, values, strict=True)
    )
    _update(ops, guard, *zip(targets, kept, strict=True))


OPERATIONS = tuple(
    name
    for name, value in list(globals().items())
    if not name.startswith("_") and getattr(value, "__module__", None) == __name__
)
"""The names of all operations, in the order of this file."""
