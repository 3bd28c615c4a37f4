"""Convolutional networks as a textbook has them: plain NumPy, every picture's windows laid out as rows (im2col)."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def rows_of_windows(x: Any, size: int, stride: int, pad: int) -> Any:
    """Return the windows of pictures (n, c, h, w), as rows (n * oh * ow, c * size * size)."""
    n, c, h, w = x.shape
    down, across = ((length + 2 * pad - size) // stride + 1 for length in (h, w))
    framed = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.empty((n, c, size, size, down, across), x.dtype)
    for i in range(size):
        for j in range(size):
            windows[:, :, i, j] = framed[:, :, i : i + stride * down : stride, j : j + stride * across : stride]
    return windows.transpose(0, 4, 5, 1, 2, 3).reshape(n * down * across, -1)


def added_up(rows: Any, shape: tuple[int, ...], size: int, stride: int, pad: int) -> Any:
    """Return pictures of a shape, to whose pixels the windows' rows are added: the gradient of `rows_of_windows`."""
    n, c, h, w = shape
    down, across = ((length + 2 * pad - size) // stride + 1 for length in (h, w))
    windows = rows.reshape(n, down, across, c, size, size).transpose(0, 3, 4, 5, 1, 2)
    framed = np.zeros((n, c, h + 2 * pad, w + 2 * pad), rows.dtype)
    for i in range(size):
        for j in range(size):
            framed[:, :, i : i + stride * down : stride, j : j + stride * across : stride] += windows[:, :, i, j]
    return framed[:, :, pad : pad + h, pad : pad + w]


class Convolution:
    def __init__(self, w: Any, b: Any, stride: int = 1, pad: int = 0) -> None:
        self.params, self.stride, self.pad = [w, b], stride, pad

    def forward(self, x: Any) -> Any:
        (w, b), n = self.params, len(x)
        down, across = ((length + 2 * self.pad - w.shape[2]) // self.stride + 1 for length in x.shape[2:])
        self.shape, self.rows = x.shape, rows_of_windows(x, w.shape[2], self.stride, self.pad)
        y = np.dot(self.rows, w.reshape(len(w), -1).T) + b
        return y.reshape(n, down, across, -1).transpose(0, 3, 1, 2)

    def backward(self, dy: Any) -> Any:
        w = self.params[0]
        dy = dy.transpose(0, 2, 3, 1).reshape(-1, len(w))
        self.grads = [np.dot(self.rows.T, dy).T.reshape(w.shape), dy.sum(axis=0)]
        return added_up(np.dot(dy, w.reshape(len(w), -1)), self.shape, w.shape[2], self.stride, self.pad)


class Pooling:
    params: tuple[()] = ()

    def forward(self, x: Any) -> Any:
        n, c, h, w = x.shape
        windows = rows_of_windows(x, 2, 2, 0).reshape(-1, 4)
        self.shape, self.best = x.shape, windows.argmax(axis=1)
        return windows.max(axis=1).reshape(n, h // 2, w // 2, c).transpose(0, 3, 1, 2)

    def backward(self, dy: Any) -> Any:
        c = self.shape[1]
        windows = np.zeros((dy.size, 4), dy.dtype)
        windows[np.arange(dy.size), self.best] = dy.transpose(0, 2, 3, 1).ravel()
        return added_up(windows.reshape(dy.size // c, -1), self.shape, 2, 2, 0)


class Affine:
    def __init__(self, w: Any, b: Any) -> None:
        self.params = [w, b]

    def forward(self, x: Any) -> Any:
        self.shape, self.x = x.shape, x.reshape(len(x), -1)
        return np.dot(self.x, self.params[0]) + self.params[1]

    def backward(self, dy: Any) -> Any:
        self.grads = [np.dot(self.x.T, dy), dy.sum(axis=0)]
        return np.dot(dy, self.params[0].T).reshape(self.shape)


class ReLU:
    params: tuple[()] = ()

    def forward(self, x: Any) -> Any:
        self.off = x <= 0
        y = x.copy()
        y[self.off] = 0
        return y

    def backward(self, dy: Any) -> Any:
        dy[self.off] = 0
        return dy


class Dropout:
    params: tuple[()] = ()

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio

    def forward(self, x: Any) -> Any:
        self.mask = np.random.default_rng().random(x.shape) > self.ratio
        return x * self.mask / np.float32(1 - self.ratio)

    def backward(self, dy: Any) -> Any:
        return dy * self.mask / np.float32(1 - self.ratio)


def training_step(layers: Iterable[Any]) -> Callable[[Any, Any], float]:
    """Return a step of softmax cross-entropy and Adam."""
    layers = list(layers)
    moments = [(np.zeros_like(p), np.zeros_like(p)) for layer in layers for p in layer.params]
    count = 0

    def step(x: Any, t: Any) -> float:
        nonlocal count
        count += 1
        for layer in layers:
            x = layer.forward(x)
        scores = np.exp(x - x.max(axis=1, keepdims=True))
        y = scores / scores.sum(axis=1, keepdims=True)
        rows = np.arange(len(t))
        loss = -np.log(y[rows, t]).mean()
        dy = y.copy()
        dy[rows, t] -= 1
        dy /= len(t)
        for layer in reversed(layers):
            dy = layer.backward(dy)
        pairs = ((p, g) for layer in layers if layer.params for p, g in zip(layer.params, layer.grads, strict=True))
        rate = np.float32(0.001 * np.sqrt(1 - 0.999**count) / (1 - 0.9**count))
        for (p, g), (m, v) in zip(pairs, moments, strict=True):
            m[...] = np.float32(0.9) * m + np.float32(0.1) * g
            v[...] = np.float32(0.999) * v + np.float32(0.001) * g**2
            p[...] = p - rate * m / (np.sqrt(v) + np.float32(1e-8))
        return float(loss)

    return step
