"""The networks S, L, M and M16, their batches, and the training step that a person would write for them in NumPy."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from ..datasets import digits
from ..layers import Affine, Layer, ReLU
from ..model import Sequential
from ..ops import HostArray
from ..optimizers import SGD, Adam
from ..training import Trainer

Batch = tuple[HostArray, HostArray]
Step = Callable[[HostArray, HostArray], Any]


@dataclass(frozen=True)
class Network:
    """A network to measure, with its batch size and optimizer."""

    name: str
    sizes: tuple[int, ...]
    batch: int
    optimizer: str
    """"sgd" (learning rate 0.01) or "adam" (0.001)."""
    precision: str = "float32"
    """Precision of the matrix products."""


NETWORKS = {
    net.name: net
    for net in (
        Network("S", (784, 50, 10), 100, "sgd"),
        Network("L", (784, 100, 100, 100, 100, 100, 100, 10), 100, "adam"),
        Network("M", (784, 1024, 1024, 10), 256, "adam"),
        Network("M16", (784, 1024, 1024, 10), 256, "adam", "bfloat16"),
    )
}


def batches(net: Network, count: int = 7) -> list[Batch]:
    """Return batches of real digits, enlarged from 8 x 8 to 28 x 28.

    On noise, half of Adam's moments would become denormal.
    """
    data = digits()
    images = np.kron(data.x, np.ones((1, 3, 3), data.x.dtype))
    images = np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(len(images), 784)
    x = images.astype(np.float32) * np.float32(data.scale)
    return [
        (x[i * net.batch : (i + 1) * net.batch].copy(), data.t[i * net.batch : (i + 1) * net.batch].copy())
        for i in range(count)
    ]


def nnx_trainer(net: Network, backend: str) -> Trainer:
    """Return nnx's trainer of the network, built."""
    layers: list[Layer] = []
    for size in net.sizes[1:-1]:
        layers += [Affine(size), ReLU()]
    optimizer = SGD(lr=0.01) if net.optimizer == "sgd" else Adam(lr=0.001)
    model = Sequential(*layers, Affine(net.sizes[-1]))
    trainer = Trainer(model, optimizer, backend=backend, precision=net.precision)
    trainer.build((net.sizes[0],))
    return trainer


def handwritten_step(net: Network) -> Step:
    """Return a training step in hand-written NumPy: all buffers allocated beforehand, every operation in place."""
    rng, f4 = np.random.default_rng(0), np.float32
    pairs = list(zip(net.sizes, net.sizes[1:], strict=False))
    weights = [(rng.standard_normal(p) * sqrt(2 / p[0])).astype(f4) for p in pairs]
    biases = [np.zeros(o, f4) for _, o in pairs]
    d_weights, d_biases = [np.zeros_like(w) for w in weights], [np.zeros_like(b) for b in biases]
    outputs = [np.zeros((net.batch, o), f4) for _, o in pairs]
    gradients = [np.zeros((net.batch, o), f4) for _, o in pairs]
    masks = [np.zeros((net.batch, o), bool) for _, o in pairs[:-1]]
    column, total, rows = np.zeros((net.batch, 1), f4), np.zeros((net.batch, 1), f4), np.arange(net.batch)
    params, grads = weights + biases, d_weights + d_biases
    first, second = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
    scratch = [np.zeros_like(p) for p in params]
    count = 0

    def update_adam() -> None:
        nonlocal count
        count += 1
        rate, root = f4(0.001 / (1 - 0.9**count)), f4(1 / sqrt(1 - 0.999**count))
        for p, g, m, v, s in zip(params, grads, first, second, scratch, strict=True):
            np.subtract(g, m, out=s)
            np.multiply(s, f4(0.1), out=s)
            np.add(m, s, out=m)
            np.multiply(g, g, out=s)
            np.subtract(s, v, out=s)
            np.multiply(s, f4(0.001), out=s)
            np.add(v, s, out=v)
            np.sqrt(v, out=s)
            np.multiply(s, root, out=s)
            np.add(s, f4(1e-8), out=s)
            np.divide(m, s, out=s)
            np.multiply(s, rate, out=s)
            np.subtract(p, s, out=p)

    def update_sgd() -> None:
        for p, g, s in zip(params, grads, scratch, strict=True):
            np.multiply(g, f4(0.01), out=s)
            np.subtract(p, s, out=p)

    update = update_adam if net.optimizer == "adam" else update_sgd

    def step(x: Any, t: Any) -> Any:
        h = x
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            np.matmul(h, w, out=outputs[i])
            h = outputs[i]
            np.add(h, b, out=h)
            if i < len(weights) - 1:
                np.maximum(h, 0, out=h)
        d = gradients[-1]
        np.max(h, axis=1, keepdims=True, out=column)
        np.subtract(h, column, out=h)
        np.exp(h, out=d)
        np.sum(d, axis=1, keepdims=True, out=total)
        loss = (np.log(total[:, 0]) - h[rows, t]).mean()
        np.divide(d, total, out=d)
        d[rows, t] -= 1
        np.divide(d, len(x), out=d)
        for i in reversed(range(len(weights))):
            below = outputs[i - 1] if i else x
            np.matmul(below.T, d, out=d_weights[i])
            np.sum(d, axis=0, out=d_biases[i])
            if i:
                np.matmul(d, weights[i].T, out=gradients[i - 1])
                d = gradients[i - 1]
                np.greater(below, 0, out=masks[i - 1])
                np.multiply(d, masks[i - 1], out=d)
        update()
        return loss

    return step
