"""Batch normalization; mean and variance in one pass: blocks of rows, merged (Chan, Golub & LeVeque 1979)."""

import math

import numpy as np

from ._jit import kernel

_ROWS = 16  # read three times while they are in the first-level cache


@kernel("mvvvmvv")
def batch_norm(x, gamma, beta, hyper, y, mean, var):
    """y = gamma * (x - mean) / sqrt(var + eps) + beta; mean and biased variance of the columns are written."""
    n, c = x.shape
    real = x.dtype.type
    block, squares = np.empty_like(mean), np.empty_like(mean)
    mean[:] = 0
    var[:] = 0
    for first in range(0, n, _ROWS):
        last = min(first + _ROWS, n)
        share, part = real(1) / real(last - first), real(last - first) / real(last)
        weight = part * real(first)
        block[:] = 0
        squares[:] = 0
        for i in range(first, last):
            for j in range(c):
                block[j] += x[i, j]
        for j in range(c):
            block[j] *= share
        for i in range(first, last):
            for j in range(c):
                d = x[i, j] - block[j]
                squares[j] += d * d
        for j in range(c):
            d = block[j] - mean[j]
            mean[j] += d * part
            var[j] += squares[j] + d * d * weight
    for j in range(c):
        var[j] /= real(n)
        block[j] = gamma[j] / math.sqrt(var[j] + hyper[0])
    for i in range(n):
        for j in range(c):
            y[i, j] = (x[i, j] - mean[j]) * block[j] + beta[j]


@kernel("mvvvvvm")
def batch_norm_inference(x, gamma, beta, mean, var, hyper, y):
    """y = gamma * (x - mean) / sqrt(var + eps) + beta."""
    n, c = x.shape
    factor = np.empty_like(mean)
    for j in range(c):
        factor[j] = gamma[j] / math.sqrt(var[j] + hyper[0])
    for i in range(n):
        for j in range(c):
            y[i, j] = (x[i, j] - mean[j]) * factor[j] + beta[j]


@kernel("mmvvvvmvv")
def batch_norm_backward(dy, x, gamma, mean, var, hyper, dx, dgamma, dbeta):
    """dx = gamma / std * (dy - dbeta / n - normalised * dgamma / n), with the column sums dbeta of dy, dgamma of
    dy * normalised."""
    n, c = x.shape
    real = x.dtype.type
    a, b, k = np.empty_like(mean), np.empty_like(mean), np.empty_like(mean)
    dgamma[:] = 0
    dbeta[:] = 0
    for i in range(n):
        for j in range(c):
            dbeta[j] += dy[i, j]
            dgamma[j] += dy[i, j] * (x[i, j] - mean[j])
    share = real(1) / real(n)
    for j in range(c):
        inverse = real(1) / math.sqrt(var[j] + hyper[0])
        dgamma[j] *= inverse
        a[j] = gamma[j] * inverse
        b[j] = dbeta[j] * share
        k[j] = dgamma[j] * inverse * share
    for i in range(n):
        for j in range(c):
            dx[i, j] = a[j] * (dy[i, j] - b[j] - (x[i, j] - mean[j]) * k[j])
