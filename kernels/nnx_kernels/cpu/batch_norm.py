"""Batch normalization; mean and variance in one pass: blocks of rows, merged (Chan, Golub & LeVeque 1979)."""

import math

import numpy as np

from ._jit import kernel

_ROWS = 16  # read three times while they are in the first-level cache


@kernel("mvv", writes="mean squares", rows="x", own="mean squares")
def moments(x, mean, squares):
    """Compute the columns' means, and their sums of squared differences from them."""
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


@kernel("mmiivv", writes="mean var")
def merge(means, squares, rows, n, mean, var):
    """Compute mean and biased variance of n rows from the moments of parts of so many rows."""
    real = mean.dtype.type
    for j in range(mean.size):
        mean[j] = means[0, j]
        var[j] = squares[0, j]
    for p in range(1, len(means)):
        first, last = p * rows, min((p + 1) * rows, n)
        part = real(last - first) / real(last)
        weight = part * real(first)
        for j in range(mean.size):
            d = means[p, j] - mean[j]
            mean[j] += d * part
            var[j] += squares[p, j] + d * d * weight
    for j in range(var.size):
        var[j] /= real(n)


@kernel("mvvvvvm", writes="y", rows="x y")
def normalise(x, gamma, beta, mean, var, hyper, y):
    """Compute y = gamma * (x - mean) / sqrt(var + eps) + beta."""
    n, c = x.shape
    factor = np.empty_like(mean)
    for j in range(c):
        factor[j] = gamma[j] / math.sqrt(var[j] + hyper[0])
    for i in range(n):
        for j in range(c):
            y[i, j] = (x[i, j] - mean[j]) * factor[j] + beta[j]


@kernel("mmvvv", writes="dgamma dbeta", rows="dy x", sums="dgamma dbeta")
def gradient_sums(dy, x, mean, dgamma, dbeta):
    """Compute the column sums of dy, and of dy * (x - mean)."""
    n, c = x.shape
    dgamma[:] = 0
    dbeta[:] = 0
    for i in range(n):
        for j in range(c):
            dbeta[j] += dy[i, j]
            dgamma[j] += dy[i, j] * (x[i, j] - mean[j])


@kernel("vvv", writes="dgamma")
def standardise(dgamma, var, hyper):
    """Compute dgamma /= sqrt(var + eps)."""
    for j in range(dgamma.size):
        dgamma[j] /= math.sqrt(var[j] + hyper[0])


@kernel("mmvvvvvvim", writes="dx", rows="dy x dx")
def input_gradient(dy, x, gamma, mean, var, hyper, dgamma, dbeta, of, dx):
    """Compute dx = gamma / std * (dy - dbeta / of - normalised * dgamma / of), for a batch of `of` rows."""
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
