import numpy as np


def numerical_gradient(f, x):
    g, h = np.zeros_like(x), 1e-4
    for i in np.ndindex(*x.shape):
        before = x[i]
        x[i] = before + h
        above = f(x)
        x[i] = before - h
        g[i] = (above - f(x)) / (2 * h)
        x[i] = before
    return g


def numerical_gradient_2d(f, X):
    return np.stack([numerical_gradient(f, row) for row in X])
