"""Every operation in its textbook form, in plain float64 NumPy, Philox in Python's integers: what backends must match.

Each function takes its operation's inputs by name and returns what the operation returns. If the operation writes or
mutates more, it returns a dictionary of all that is written, by the argument's name, with the result under "result".
"""

import math
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from ..formula import Formula
from ..ops import HostArray, Pair
from ._formulas import activated, evaluate, losses_and_gradients, updated

Written: TypeAlias = "dict[str, HostArray]"

_MASK = 0xFFFFFFFF


# Memory ---------------------------------------------------------------------------------------------------------------


def allocate(size: int, dtype: str) -> HostArray:
    return np.zeros(size, dtype)


def take(data: HostArray, index: HostArray, scale: HostArray | None = None) -> HostArray:
    rows = np.stack([data[i] for i in index])
    return rows if scale is None else rows * scale


# Layers ---------------------------------------------------------------------------------------------------------------


def affine(x: HostArray, w: HostArray, b: HostArray | None = None, activation: Formula | None = None) -> HostArray:
    product: HostArray = np.einsum("ni,io->no", x, w)
    product = product if b is None else product + b
    return product if activation is None else activated(activation, product)


def affine_backward(dy: HostArray, x: HostArray, w: HostArray) -> Written:
    return {"dx": np.einsum("no,io->ni", dy, w), "dw": np.einsum("ni,no->io", x, dy), "db": dy.sum(axis=0)}


def _with_db(dx: HostArray) -> Written:
    return {"result": dx, "db": dx.reshape(-1, dx.shape[-1]).sum(axis=0)}


def activation(formula: Formula, x: HostArray) -> HostArray:
    return activated(formula, x)


def activation_backward(formula: Formula, dy: HostArray, x: HostArray, y: HostArray) -> Written:
    (dx,) = evaluate(formula, {"dy": dy, "x": x, "y": y})
    return _with_db(dx)


def batch_norm(x: HostArray, gamma: HostArray, beta: HostArray, hyper: HostArray) -> Written:
    mean, var = x.mean(axis=0), x.var(axis=0)
    return {"result": batch_norm_inference(x, gamma, beta, mean, var, hyper), "mean": mean, "var": var}


def batch_norm_inference(
    x: HostArray, gamma: HostArray, beta: HostArray, mean: HostArray, var: HostArray, hyper: HostArray
) -> HostArray:
    normalised: HostArray = (x - mean) / np.sqrt(var + hyper[0])
    return gamma * normalised + beta


def batch_norm_backward(
    dy: HostArray, x: HostArray, gamma: HostArray, mean: HostArray, var: HostArray, hyper: HostArray
) -> Written:
    """Multiply dy by each column's Jacobian, gamma / std * (I - 1 1'/n - h h'/n), h being the normalised column."""
    n, std = len(x), np.sqrt(var + hyper[0])
    h = (x - mean) / std
    dx = np.empty_like(x)
    for j in range(x.shape[1]):
        jacobian = np.eye(n) - np.ones((n, n)) / n - np.outer(h[:, j], h[:, j]) / n
        dx[:, j] = gamma[j] / std[j] * (jacobian @ dy[:, j])
    return {"result": dx, "dgamma": (dy * h).sum(axis=0), "dbeta": dy.sum(axis=0), "db": np.zeros(x.shape[1])}


# Pictures -------------------------------------------------------------------------------------------------------------


def _windows(x: HostArray, size: Pair, stride: Pair, pad: Pair, value: float = 0.0) -> HostArray:
    """Return what lies under a window at each of its places: (n, oh, ow, c, kh, kw)."""
    padded = np.pad(x, ((0, 0), (pad[0],) * 2, (pad[1],) * 2, (0, 0)), constant_values=value)
    return np.lib.stride_tricks.sliding_window_view(padded, size, axis=(1, 2))[:, :: stride[0], :: stride[1]]


def _spread(places: HostArray, shape: Pair, stride: Pair, pad: Pair) -> HostArray:
    """Return pictures on which windows (n, oh, ow, c, kh, kw) are added up at their places, one after the other."""
    n, oh, ow, c, kh, kw = places.shape
    padded = np.zeros((n, shape[0] + 2 * pad[0], shape[1] + 2 * pad[1], c))
    for i, j in np.ndindex(oh, ow):
        top, left = i * stride[0], j * stride[1]
        padded[:, top : top + kh, left : left + kw] += places[:, i, j].transpose(0, 2, 3, 1)
    return padded[:, pad[0] : pad[0] + shape[0], pad[1] : pad[1] + shape[1]]


def convolution(
    x: HostArray,
    w: HostArray,
    b: HostArray | None = None,
    stride: Pair = (1, 1),
    pad: Pair = (0, 0),
    activation: Formula | None = None,
) -> HostArray:
    y: HostArray = np.einsum("nijcpq,fcpq->nijf", _windows(x, w.shape[2:], stride, pad), w)
    y = y if b is None else y + b
    return y if activation is None else activated(activation, y)


def convolution_backward(
    dy: HostArray, x: HostArray, w: HostArray, stride: Pair = (1, 1), pad: Pair = (0, 0)
) -> Written:
    shape, size = (x.shape[1], x.shape[2]), w.shape[2:]
    products = np.einsum("nijf,nijcpq->nijfcpq", dy, _windows(x, size, stride, pad))
    # A NaN in dy need not reach what lies beyond the borders.
    on_pictures = _windows(np.ones_like(x), size, stride, pad)[:, :, :, None] == 1
    return {
        "dx": _spread(np.einsum("nijf,fcpq->nijcpq", dy, w), shape, stride, pad),
        "dw": np.where(on_pictures, products, 0.0).sum(axis=(0, 1, 2)),
        "db": dy.sum(axis=(0, 1, 2)),
    }


def max_pooling(x: HostArray, size: Pair, stride: Pair, pad: Pair = (0, 0)) -> Written:
    windows = _windows(x, size, stride, pad, -np.inf)
    rows = windows.reshape(*windows.shape[:4], -1)
    on_picture = _windows(np.ones_like(x), size, stride, pad).reshape(rows.shape) > 0
    greatest = rows.max(axis=-1)
    found = on_picture & ((rows == greatest[..., None]) | np.isnan(rows))
    return {"result": greatest, "index": found.argmax(axis=-1).astype(np.uint8)}


def max_pooling_backward(
    dy: HostArray, index: HostArray, shape: Pair, size: Pair, stride: Pair, pad: Pair = (0, 0)
) -> HostArray:
    chosen = np.arange(size[0] * size[1]) == index[..., None]
    return _spread(np.where(chosen, dy[..., None], 0.0).reshape(*dy.shape, *size), shape, stride, pad)


def average_pooling(x: HostArray, size: Pair, stride: Pair, pad: Pair = (0, 0)) -> HostArray:
    means: HostArray = _windows(x, size, stride, pad).mean(axis=(4, 5))
    return means


def average_pooling_backward(dy: HostArray, shape: Pair, size: Pair, stride: Pair, pad: Pair = (0, 0)) -> HostArray:
    shares = np.broadcast_to(dy[..., None, None] / (size[0] * size[1]), (*dy.shape, *size))
    return _spread(shares, shape, stride, pad)


def swap_axes(x: HostArray) -> HostArray:
    return np.stack([matrix.T for matrix in x])


# Random numbers -------------------------------------------------------------------------------------------------------


@cache
def philox_block(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the four random words of one counter: Philox4x32-10 as printed in Salmon et al. 2011."""
    left0, right0, left1, right1 = counter
    key0, key1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * left0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * left1, 2**32)
        left0, right0, left1, right1 = high1 ^ right0 ^ key0, low1, high0 ^ right1 ^ key1, low0
        key0, key1 = (key0 + 0x9E3779B9) & _MASK, (key1 + 0xBB67AE85) & _MASK
    return left0, right0, left1, right1


def philox(rng: HostArray, size: int, row: int = 1) -> HostArray:
    seed_low, seed_high, layer, step_low, step_high, _, first_row = map(int, rng)
    first, stop = first_row * row, first_row * row + size
    numbers = range(first // 4, -(-stop // 4))
    blocks = [philox_block((i, layer, step_low, step_high), (seed_low, seed_high)) for i in numbers]
    return np.array(blocks, np.uint32).reshape(-1)[first % 4 :][:size]


def dropout(x: HostArray, rng: HostArray, factor: HostArray) -> Written:
    kept = philox(rng, x.size, math.prod(x.shape[1:])).reshape(x.shape) >= rng[5]
    return {"result": np.where(kept, x * factor, 0.0), "mask": kept}


def dropout_backward(dy: HostArray, mask: HostArray, factor: HostArray) -> Written:
    return _with_db(np.where(mask, dy * factor, 0.0))


# Losses and metrics ---------------------------------------------------------------------------------------------------


def softmax(x: HostArray) -> HostArray:
    return np.exp(_log_softmax(x))


def _log_softmax(x: HostArray) -> HostArray:
    """Compute x_i - log(sum over j of exp(x_j)) for each element i of a row; the largest x_j alone gives log(1)."""
    rows, largest = np.arange(len(x)), x.argmax(axis=1)
    below = x - x[rows, largest][:, np.newaxis]
    others = np.exp(below)
    others[rows, largest] = 0.0
    result: HostArray = below - np.log1p(others.sum(axis=1, keepdims=True))
    return result


def _loss(rows: HostArray, gradients: HostArray, weight: HostArray | None) -> Written:
    """Return the mean of the rows' losses (n,), and its gradients (n, c)."""
    weight = np.ones(len(rows)) if weight is None else weight
    dz = gradients * weight[:, None] / len(rows)
    return {"result": np.mean(rows * weight), "dz": dz, "db": dz.sum(axis=0)}


def softmax_cross_entropy(
    z: HostArray, t: HostArray, weight: HostArray | None = None, bias: HostArray | None = None
) -> Written:
    c = z.shape[1]
    target = t if t.ndim == 2 else np.array([[float(label == k) for k in range(c)] for label in t])
    log_y = _log_softmax(z if bias is None else z + bias)
    written = _loss(-(target * log_y).sum(axis=1), np.exp(log_y) - target, weight)
    if np.any(target.sum(axis=1) == 0):  # a label out of range
        written["result"] = np.asarray(np.nan)
    return written


def loss(
    formula: Formula,
    z: HostArray,
    t: HostArray,
    hyper: HostArray | None = None,
    weight: HostArray | None = None,
    bias: HostArray | None = None,
) -> Written:
    z = z if bias is None else z + bias
    losses, gradients = losses_and_gradients(formula, z, t, *(() if hyper is None else hyper))
    return _loss(losses.sum(axis=1), gradients, weight)


def count_correct(y: HostArray, t: HostArray) -> HostArray:
    labels = t if t.ndim == 1 else [list(row).index(max(row)) for row in t]
    return np.array(sum(list(row).index(max(row)) == label for row, label in zip(y, labels, strict=True)), np.int64)


def sum_squares(x: HostArray) -> HostArray:
    return np.asarray(np.sum(x**2))


def global_norm(x: HostArray) -> HostArray:
    return np.asarray(np.linalg.norm(x.ravel()))


# Precision and clipping -----------------------------------------------------------------------------------------------


def rescale_(x: HostArray, scaling: HostArray) -> Written:
    return {"x": x * scaling[0]}


def unscale_(hyper: HostArray, norm: HostArray, scaling: HostArray) -> Written:
    scale, so_far, interval = scaling
    if not np.isfinite(norm):
        adapted = [max(scale / 2, 1.0), 0.0, interval]
    elif so_far + 1 >= interval:
        adapted = [min(2 * scale, 2.0**24), 0.0, interval]
    else:
        adapted = [scale, so_far + 1, interval]
    return {"hyper": np.append(hyper[:-1], hyper[-1] / scale), "scaling": np.array(adapted)}


def clip_(hyper: HostArray, norm: HostArray, limit: HostArray) -> Written:
    scaled = norm * hyper[-1]
    factor = 1.0 if scaled <= limit else limit / scaled
    return {"hyper": np.append(hyper[:-1], hyper[-1] * factor)}


# Optimizers -----------------------------------------------------------------------------------------------------------


def update_(
    formula: Formula, hyper: HostArray, decay: int = 0, guard: HostArray | None = None, **arrays: HostArray
) -> Written:
    if guard is not None and not np.isfinite(guard):
        return {name: arrays[name] for name in formula.outputs}
    p = arrays[formula.inputs[0]]
    scalars: dict[str, Any] = dict(zip(formula.scalars, hyper, strict=True))
    if "weight_decay" in scalars:
        scalars["weight_decay"] = np.where(np.arange(p.size).reshape(p.shape) < decay, scalars["weight_decay"], 0.0)
    return dict(zip(formula.outputs, updated(formula, arrays, scalars), strict=True))


def expected(op: str, inputs: dict[str, Any]) -> Written:
    """Return what `op` returns ("result") and writes for these inputs, floating-point ones taken as float64."""
    exact = {
        name: value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for name, value in inputs.items()
    }
    with np.errstate(all="ignore"):
        written = globals()[op](**exact)
    if not isinstance(written, dict):
        written = {"result": written}
    return {name: np.asarray(value) for name, value in written.items()}
