"""The networks S, L, M and M16, and their batches."""

from dataclasses import dataclass

import numpy as np

from ..datasets import digits
from ..layers import Affine, Layer, ReLU
from ..model import Sequential
from ..ops import HostArray
from ..optimizers import SGD, Adam
from ..training import Trainer

Batch = tuple[HostArray, HostArray]


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
