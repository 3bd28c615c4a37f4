"""Batch normalization; mean and variance in one pass: blocks of rows, merged (Chan, Golub & LeVeque 1979)."""

import math

import numpy as np

from ._jit import fast_inlined, kernel

_ROWS = 16  # read three times while they are in the first-level cache


@fast_inlined
def _moments(x, mean, squares):
    n, c = x.shape
    real = x.dtype.type
    block, deviations = np.empty_like(mean), np.empty_like(mean)
    mean[:] = 0
    squares[:] = 0
    for first in range(0, n, _ROWS):
        last = min(first + _ROWS, n)
        share, part = real(1) / real(last - first), real(last - first) / real(last)
        weight = part * real(first)
        block[:] = 0
        deviations[:] = 0
        for i in range(first, last):
            for j in range(c):
                block[j] += x[i, j]
        for j in range(c):
            block[j] *= share
        for i in range(first, last):
            for j in range(c):
                d = x[i, j] - block[j]
                deviations[j] += d * d
        for j in range(c):
            d = block[j] - mean[j]
            mean[j] += d * part
            squares[j] += deviations[j] + d * d * weight


@fast_inlined
def _normalise(x, gamma, beta, mean, var, hyper, y):
    n, c = x.shape
    factor = np.empty_like(mean)
    for j in range(c):
        factor[j] = gamma[j] / math.sqrt(var[j] + hyper[0])
    for i in range(n):
        for j in range(c):
            y[i, j] = (x[i, j] - mean[j]) * factor[j] + beta[j]


@fast_inlined
def _gradient_sums(dy, x, mean, dgamma, dbeta):
    n, c = x.shape
    dgamma[:] = 0
    dbeta[:] = 0
    for i in range(n):
        for j in range(c):
            dbeta[j] += dy[i, j]
            dgamma[j] += dy[i, j] * (x[i, j] - mean[j])


@fast_inlined
def _input_gradient(dy, x, gamma, mean, var, hyper, dgamma, dbeta, of, dx):
    n, c = x.shape
    share = x.dtype.type(1) / x.dtype.type(of)
    a, b, k = np.empty_like(mean), np.empty_like(mean), np.empty_like(mean)
    for j in range(c):
        inverse = x.dtype.type(1) / math.sqrt(var[j] + hyper[0])
        a[j] = gamma[j] * inverse
        b[j] = dbeta[j] * share
        k[j] = dgamma[j] * inverse * share
    for i in range(n):
        for j in range(c):
            dx[i, j] = a[j] * (dy[i, j] - b[j] - (x[i, j] - mean[j]) * k[j])


@kernel("mvvvmvv")
def batch_norm(x, gamma, beta, hyper, y, mean, var):
    """Compute y = gamma * (x - mean) / sqrt(var + eps) + beta; write the columns' mean and biased variance."""
    _moments(x, mean, var)
    for j in range(var.size):
        var[j] /= x.dtype.type(len(x))
    _normalise(x, gamma, beta, mean, var, hyper, y)


@kernel("mvv")
def moments(x, mean, squares):
    """Compute the columns' means, and their sums of squared differences from them."""
    _moments(x, mean, squares)


@kernel("mvvvvvm")
def batch_norm_inference(x, gamma, beta, mean, var, hyper, y):
    """Compute y = gamma * (x - mean) / sqrt(var + eps) + beta."""
    _normalise(x, gamma, beta, mean, var, hyper, y)


@kernel("mmvvvvmvv")
def batch_norm_backward(dy, x, gamma, mean, var, hyper, dx, dgamma, dbeta):
    """Compute dx = gamma / std * (dy - dbeta / n - normalised * dgamma / n).

    dbeta is the column sums of dy, dgamma those of dy * normalised; both are written, too.
    """
    _gradient_sums(dy, x, mean, dgamma, dbeta)
    for j in range(dgamma.size):
        dgamma[j] /= math.sqrt(var[j] + hyper[0])
    _input_gradient(dy, x, gamma, mean, var, hyper, dgamma, dbeta, len(x), dx)


@kernel("mmvvv")
def gradient_sums(dy, x, mean, dgamma, dbeta):
    """Compute the column sums of dy, and of dy * (x - mean)."""
    _gradient_sums(dy, x, mean, dgamma, dbeta)


@kernel("mmvvvvvvim")
def input_gradient(dy, x, gamma, mean, var, hyper, dgamma, dbeta, of, dx):
    """Compute the dx of `batch_norm_backward` for some rows of a batch of `of`."""
    _input_gradient(dy, x, gamma, mean, var, hyper, dgamma, dbeta, of, dx)
