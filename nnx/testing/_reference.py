"""Every operation in its textbook form, in plain float64 NumPy, Philox in Python's integers: what a backend is held to.

Each function takes its operation's inputs by name and returns what the operation returns; or, if that writes or mutates
more, a dictionary of all that it writes, by the argument's name, what it returns being under "result".
"""

from functools import cache
from typing import Any, TypeAlias

import numpy as np

from ..backend import HostArray

Written: TypeAlias = "dict[str, HostArray]"

_MASK = 0xFFFFFFFF


# Memory ---------------------------------------------------------------------------------------------------------------


def allocate(size: int, dtype: str) -> HostArray:
    return np.zeros(size, dtype)


def take(data: HostArray, index: HostArray, scale: HostArray | None = None) -> HostArray:
    rows = np.stack([data[i] for i in index])
    return rows if scale is None else rows * scale


# Layers ---------------------------------------------------------------------------------------------------------------


def affine(x: HostArray, w: HostArray, b: HostArray | None = None) -> HostArray:
    product: HostArray = np.einsum("ni,io->no", x, w)
    return product if b is None else product + b


def affine_relu(x: HostArray, w: HostArray, b: HostArray | None = None) -> HostArray:
    return relu(affine(x, w, b))


def affine_backward(dy: HostArray, x: HostArray, w: HostArray) -> Written:
    return {"dx": np.einsum("no,io->ni", dy, w), "dw": np.einsum("ni,no->io", x, dy), "db": dy.sum(axis=0)}


def relu(x: HostArray) -> HostArray:
    return np.where(x < 0, 0.0, x)


def sigmoid(x: HostArray) -> HostArray:
    return np.exp(-np.logaddexp(0.0, -x))


def tanh(x: HostArray) -> HostArray:
    return np.tanh(x)


def _with_db(dx: HostArray) -> Written:
    return {"result": dx, "db": dx.sum(axis=0)}


def relu_backward(dy: HostArray, y: HostArray) -> Written:
    return _with_db(np.where(y > 0, dy, 0.0))


def sigmoid_backward(dy: HostArray, y: HostArray) -> Written:
    return _with_db(dy * (y - y**2))


def tanh_backward(dy: HostArray, y: HostArray) -> Written:
    return _with_db(dy * (1 + y) * (1 - y))


def scale(x: HostArray, factor: HostArray) -> HostArray:
    return x * factor


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
    """The Jacobian of each column, gamma / std * (I - 1 1'/n - h h'/n) with h the normalised column, times dy."""
    n, std = len(x), np.sqrt(var + hyper[0])
    h = (x - mean) / std
    dx = np.empty_like(x)
    for j in range(x.shape[1]):
        jacobian = np.eye(n) - np.ones((n, n)) / n - np.outer(h[:, j], h[:, j]) / n
        dx[:, j] = gamma[j] / std[j] * (jacobian @ dy[:, j])
    return {"result": dx, "dgamma": (dy * h).sum(axis=0), "dbeta": dy.sum(axis=0), "db": np.zeros(x.shape[1])}


def running_average_(running: HostArray, batch: HostArray, hyper: HostArray, guard: HostArray | None = None) -> Written:
    return _guarded(guard, running=(running, hyper[1] * running + hyper[2] * batch))


# Random numbers -------------------------------------------------------------------------------------------------------


@cache
def philox_block(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """The four random words of one counter: Philox4x32-10 as printed in Salmon et al. 2011."""
    left0, right0, left1, right1 = counter
    key0, key1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * left0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * left1, 2**32)
        left0, right0, left1, right1 = high1 ^ right0 ^ key0, low1, high0 ^ right1 ^ key1, low0
        key0, key1 = (key0 + 0x9E3779B9) & _MASK, (key1 + 0xBB67AE85) & _MASK
    return left0, right0, left1, right1


def philox(rng: HostArray, size: int) -> HostArray:
    seed_low, seed_high, layer, step_low, step_high = (int(word) for word in rng[:5])
    blocks = [philox_block((i, layer, step_low, step_high), (seed_low, seed_high)) for i in range(-(-size // 4))]
    return np.array(blocks, np.uint32).reshape(-1)[:size]


def philox_uniform(rng: HostArray, size: int, dtype: str) -> HostArray:
    return (philox(rng, size) // 256) / 2**24


def dropout(x: HostArray, rng: HostArray, factor: HostArray) -> Written:
    kept = philox(rng, x.size).reshape(x.shape) >= rng[5]
    return {"result": np.where(kept, x * factor, 0.0), "mask": kept}


def dropout_backward(dy: HostArray, mask: HostArray, factor: HostArray) -> Written:
    return _with_db(np.where(mask, dy * factor, 0.0))


# Losses and metrics ---------------------------------------------------------------------------------------------------


def softmax(x: HostArray) -> HostArray:
    return np.exp(_log_softmax(x))


def _log_softmax(x: HostArray) -> HostArray:
    """-log(sum over j of exp(x_j - x_i)) for each element i of a row."""
    differences = x[:, np.newaxis, :] - x[:, :, np.newaxis]
    result: HostArray = -np.logaddexp.reduce(differences, axis=2)
    return result


def _loss(rows: HostArray, gradients: HostArray, weight: HostArray | None) -> Written:
    """The mean of the rows' losses (n,), and the gradients (n, c) of that."""
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


def sigmoid_cross_entropy(
    z: HostArray, t: HostArray, weight: HostArray | None = None, bias: HostArray | None = None
) -> Written:
    z = z if bias is None else z + bias
    losses = t * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z)
    return _loss(losses.sum(axis=1), sigmoid(z) - t, weight)


def mean_squared_error(
    z: HostArray, t: HostArray, weight: HostArray | None = None, bias: HostArray | None = None
) -> Written:
    difference = (z if bias is None else z + bias) - t
    return _loss(np.sum(difference**2, axis=1) / 2, difference, weight)


def poisson_deviance(
    z: HostArray, t: HostArray, weight: HostArray | None = None, bias: HostArray | None = None
) -> Written:
    y = np.exp(z if bias is None else z + bias)
    logs = [0.0 if a == 0 else a * np.log(a / b) for a, b in zip(t.ravel(), y.ravel(), strict=True)]
    return _loss(np.sum(np.reshape(logs, t.shape) - t + y, axis=1), y - t, weight)


def count_correct(y: HostArray, t: HostArray) -> HostArray:
    labels = t if t.ndim == 1 else [list(row).index(max(row)) for row in t]
    return np.array(sum(list(row).index(max(row)) == label for row, label in zip(y, labels, strict=True)), np.int64)


def sum_squares(x: HostArray) -> HostArray:
    return np.asarray(np.sum(x**2))


def global_norm(x: HostArray) -> HostArray:
    return np.asarray(np.linalg.norm(x.ravel()))


# Optimizers -----------------------------------------------------------------------------------------------------------


def _guarded(guard: HostArray | None, **updates: tuple[HostArray, HostArray]) -> Written:
    """For each (old, new) the new values, or the old ones if the guard is not finite."""
    return {name: new if guard is None or np.isfinite(guard) else old for name, (old, new) in updates.items()}


def _decayed(p: HostArray, decay: int) -> HostArray:
    """p where weight decay applies, 0 elsewhere."""
    return np.where(np.arange(p.size).reshape(p.shape) < decay, p, 0.0)


def _gradient(p: HostArray, g: HostArray, hyper: HostArray, decay: int) -> HostArray:
    weight_decay, grad_scale = hyper[-2:]
    result: HostArray = grad_scale * g + weight_decay * _decayed(p, decay)
    return result


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
    factor = limit / scaled if scaled > limit else 1.0
    return {"hyper": np.append(hyper[:-1], hyper[-1] * factor)}


def sgd_(p: HostArray, g: HostArray, hyper: HostArray, decay: int = 0, guard: HostArray | None = None) -> Written:
    return _guarded(guard, p=(p, p - hyper[0] * _gradient(p, g, hyper, decay)))


def momentum_(
    p: HostArray, g: HostArray, v: HostArray, hyper: HostArray, decay: int = 0, guard: HostArray | None = None
) -> Written:
    lr, momentum = hyper[:2]
    velocity = momentum * v - lr * _gradient(p, g, hyper, decay)
    return _guarded(guard, p=(p, p + velocity), v=(v, velocity))


def nesterov_(
    p: HostArray, g: HostArray, v: HostArray, hyper: HostArray, decay: int = 0, guard: HostArray | None = None
) -> Written:
    lr, momentum = hyper[:2]
    g = _gradient(p, g, hyper, decay)
    return _guarded(guard, p=(p, p + momentum**2 * v - (1 + momentum) * lr * g), v=(v, momentum * v - lr * g))


def adagrad_(
    p: HostArray, g: HostArray, h: HostArray, hyper: HostArray, decay: int = 0, guard: HostArray | None = None
) -> Written:
    lr, eps = hyper[:2]
    g = _gradient(p, g, hyper, decay)
    total = h + g**2
    return _guarded(guard, p=(p, p - lr * g / (np.sqrt(total) + eps)), h=(h, total))


def rmsprop_(
    p: HostArray, g: HostArray, h: HostArray, hyper: HostArray, decay: int = 0, guard: HostArray | None = None
) -> Written:
    lr, eps, rho = hyper[0], hyper[1], 1 - hyper[2]
    g = _gradient(p, g, hyper, decay)
    average = rho * h + (1 - rho) * g**2
    return _guarded(guard, p=(p, p - lr * g / (np.sqrt(average) + eps)), h=(h, average))


def _adam(
    p: HostArray, start: HostArray, g: HostArray, m: HostArray, v: HostArray, hyper: HostArray, guard: HostArray | None
) -> Written:
    a, b, eps, beta1, beta2 = hyper[0], hyper[1], hyper[2], 1 - hyper[3], 1 - hyper[4]
    first, second = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    return _guarded(guard, p=(p, start - a * first / (b * np.sqrt(second) + eps)), m=(m, first), v=(v, second))


def adam_(
    p: HostArray,
    g: HostArray,
    m: HostArray,
    v: HostArray,
    hyper: HostArray,
    decay: int = 0,
    guard: HostArray | None = None,
) -> Written:
    return _adam(p, p, _gradient(p, g, hyper, decay), m, v, hyper, guard)


def adamw_(
    p: HostArray,
    g: HostArray,
    m: HostArray,
    v: HostArray,
    hyper: HostArray,
    decay: int = 0,
    guard: HostArray | None = None,
) -> Written:
    rate, grad_scale = hyper[-2:]
    return _adam(p, p - rate * _decayed(p, decay), grad_scale * g, m, v, hyper, guard)


def expected(op: str, inputs: dict[str, Any]) -> Written:
    """What `op` returns ("result") and writes for these inputs, floating-point ones taken as float64."""
    exact = {
        name: value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for name, value in inputs.items()
    }
    with np.errstate(all="ignore"):
        written = globals()[op](**exact)
    if not isinstance(written, dict):
        written = {"result": written}
    return {name: np.asarray(value) for name, value in written.items()}
