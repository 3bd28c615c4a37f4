# ruff: noqa: NPY002
import numpy as np

from common.functions import *  # noqa: F403
from common.functions import cross_entropy_error, softmax


class Relu:
    def forward(self, x):
        self.mask = x <= 0
        return np.where(self.mask, 0, x)

    def backward(self, dout):
        return np.where(self.mask, 0, dout)


class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.shape = x.shape
        self.x = x.reshape(len(x), -1)
        return self.x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return (dout @ self.W.T).reshape(self.shape)


class SoftmaxWithLoss:
    def forward(self, x, t):
        self.y, self.t = softmax(x), t
        self.loss = cross_entropy_error(self.y, t)
        return self.loss

    def backward(self, dout=1):
        labels = self.t.argmax(axis=1) if self.t.size == self.y.size else self.t.reshape(-1)
        return (self.y - np.eye(self.y.shape[1])[labels]) / len(self.y)


class Dropout:
    def __init__(self, dropout_ratio=0.5):
        self.dropout_ratio = dropout_ratio

    def forward(self, x, train_flg=True):
        if not train_flg:
            return (1 - self.dropout_ratio) * x
        self.mask = np.random.rand(*x.shape) > self.dropout_ratio
        return np.where(self.mask, x, 0)

    def backward(self, dout):
        return np.where(self.mask, dout, 0)


def _windows(x, size, stride, pad):
    """(n, c, out_h, out_w, *size): views of what lies under a window, in float64."""
    x = np.pad(x.astype(float), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    return np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3))[:, :, ::stride, ::stride]


def _spread(parts, shape, stride, pad):
    """Add parts (n, c, out_h, out_w, *size) at the places of `_windows` to images of a shape."""
    n, c, h, w = shape
    _, _, oh, ow, fh, fw = parts.shape
    x = np.zeros((n, c, h + 2 * pad, w + 2 * pad))
    for i in range(oh):
        for j in range(ow):
            x[:, :, i * stride : i * stride + fh, j * stride : j * stride + fw] += parts[:, :, i, j]
    return x[:, :, pad : pad + h, pad : pad + w]


class Convolution:
    def __init__(self, W, b, stride=1, pad=0):
        self.W, self.b, self.stride, self.pad = W, b, stride, pad

    def forward(self, x):
        n = len(x)
        f, size = len(self.W), self.W.shape[2:]
        windows = _windows(x, size, self.stride, self.pad)
        oh, ow = windows.shape[2:4]
        self.x = x
        self.col = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * oh * ow, -1)
        self.col_W = self.W.reshape(f, -1).T
        return (self.col @ self.col_W + self.b).reshape(n, oh, ow, f).transpose(0, 3, 1, 2)

    def backward(self, dout):
        f, c, fh, fw = self.W.shape
        rows = dout.transpose(0, 2, 3, 1).reshape(-1, f)
        self.db, self.dW = rows.sum(axis=0), (rows.T @ self.col).reshape(self.W.shape)
        parts = (rows @ self.col_W.T).reshape(len(dout), *dout.shape[2:], c, fh, fw).transpose(0, 3, 1, 2, 4, 5)
        return _spread(parts, self.x.shape, self.stride, self.pad)


class Pooling:
    def __init__(self, pool_h, pool_w, stride=2, pad=0):
        self.pool_h, self.pool_w, self.stride, self.pad = pool_h, pool_w, stride, pad

    def forward(self, x):
        windows = _windows(x, (self.pool_h, self.pool_w), self.stride, self.pad)
        flat = windows.reshape(*windows.shape[:4], -1)
        self.x, self.best = x, flat.argmax(axis=-1)
        self.arg_max = self.best.transpose(0, 2, 3, 1).ravel()
        return flat.max(axis=-1)

    def backward(self, dout):
        parts = np.eye(self.pool_h * self.pool_w)[self.best] * dout[..., None]
        return _spread(parts.reshape(*dout.shape, self.pool_h, self.pool_w), self.x.shape, self.stride, self.pad)
