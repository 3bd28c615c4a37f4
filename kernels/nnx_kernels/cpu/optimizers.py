"""Optimizer updates of a part of the flat buffers in one pass: from `low` to `high`, under weight decay if `decay`.

The last two entries of hyper are weight_decay and grad_scale. Every kernel works on slices that start at 0: over a
range that starts anywhere, indices might be negative for all that LLVM knows, and it would not vectorise.
"""

import math

from . import flush
from ._jit import inlined, kernel


@inlined
def _decay(hyper, decay):
    return hyper[-2] if decay else hyper.dtype.type(0)


@kernel("vvviii")
def sgd(p, g, hyper, low, high, decay):
    rate, weight, scale = hyper[0], _decay(hyper, decay), hyper[-1]
    p, g = p[low:high], g[low:high]
    before = flush.begin()
    for i in range(p.size):
        p[i] -= rate * (g[i] * scale + weight * p[i])
    flush.end(before)


@kernel("vvvviii")
def momentum(p, g, v, hyper, low, high, decay):
    rate, kept, weight, scale = hyper[0], hyper[1], _decay(hyper, decay), hyper[-1]
    p, g, v = p[low:high], g[low:high], v[low:high]
    before = flush.begin()
    for i in range(p.size):
        new = kept * v[i] - rate * (g[i] * scale + weight * p[i])
        v[i] = new
        p[i] += new
    flush.end(before)


@kernel("vvvviii")
def nesterov(p, g, v, hyper, low, high, decay):
    rate, kept, weight, scale = hyper[0], hyper[1], _decay(hyper, decay), hyper[-1]
    p, g, v = p[low:high], g[low:high], v[low:high]
    before = flush.begin()
    for i in range(p.size):
        step = rate * (g[i] * scale + weight * p[i])
        new = kept * v[i] - step
        v[i] = new
        p[i] += kept * new - step
    flush.end(before)


@kernel("vvvviii")
def adagrad(p, g, h, hyper, low, high, decay):
    rate, eps, weight, scale = hyper[0], hyper[1], _decay(hyper, decay), hyper[-1]
    p, g, h = p[low:high], g[low:high], h[low:high]
    before = flush.begin()
    for i in range(p.size):
        d = g[i] * scale + weight * p[i]
        new = h[i] + d * d
        h[i] = new
        p[i] -= rate * d / (math.sqrt(new) + eps)
    flush.end(before)


@kernel("vvvviii")
def rmsprop(p, g, h, hyper, low, high, decay):
    rate, eps, share, weight, scale = hyper[0], hyper[1], hyper[2], _decay(hyper, decay), hyper[-1]
    p, g, h = p[low:high], g[low:high], h[low:high]
    before = flush.begin()
    for i in range(p.size):
        d = g[i] * scale + weight * p[i]
        new = h[i] + share * (d * d - h[i])
        h[i] = new
        p[i] -= rate * d / (math.sqrt(new) + eps)
    flush.end(before)


@kernel("vvvvviii")
def adam(p, g, m, v, hyper, low, high, decay):
    a, b, eps, share1, share2 = hyper[0], hyper[1], hyper[2], hyper[3], hyper[4]
    weight, scale = _decay(hyper, decay), hyper[-1]
    p, g, m, v = p[low:high], g[low:high], m[low:high], v[low:high]
    before = flush.begin()
    for i in range(p.size):
        d = g[i] * scale + weight * p[i]
        mean = m[i] + share1 * (d - m[i])
        square = v[i] + share2 * (d * d - v[i])
        m[i] = mean
        v[i] = square
        p[i] -= a * mean / (b * math.sqrt(square) + eps)
    flush.end(before)


@kernel("vvvvviii")
def adamw(p, g, m, v, hyper, low, high, decay):
    a, b, eps, share1, share2 = hyper[0], hyper[1], hyper[2], hyper[3], hyper[4]
    weight, scale = _decay(hyper, decay), hyper[-1]
    p, g, m, v = p[low:high], g[low:high], m[low:high], v[low:high]
    before = flush.begin()
    for i in range(p.size):
        d = g[i] * scale
        mean = m[i] + share1 * (d - m[i])
        square = v[i] + share2 * (d * d - v[i])
        m[i] = mean
        v[i] = square
        p[i] = p[i] - weight * p[i] - a * mean / (b * math.sqrt(square) + eps)
    flush.end(before)


@kernel("vvv")
def running_average(running, batch, hyper):
    """running = momentum * running + (1 - momentum) * batch. hyper: [eps, momentum, 1 - momentum]."""
    old, new = hyper[1], hyper[2]
    for i in range(running.size):
        running[i] = old * running[i] + new * batch[i]
