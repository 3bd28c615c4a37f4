"""Activation, loss, optimizer and schedule of one's own (docs/extending.md): `python examples/own_parts.py`."""

import numpy as np

import nnx
from nnx.datasets import digits
from nnx.formula import abs, sigmoid, sign, where  # noqa: A004  the field's name


class Swish(nnx.Activation):
    """x * sigmoid(beta * x)."""

    fields = ("beta",)

    def __init__(self, beta=1.0):
        super().__init__()
        self.beta = beta

    def function(self, x):
        return x * sigmoid(self.beta * x)


class Huber(nnx.ElementwiseLoss):
    """Quadratic up to delta, linear beyond."""

    settings = ("delta",)

    def __init__(self, delta=1.0):
        super().__init__()
        self.delta = delta

    def function(self, z, t, delta):
        d = abs(z - t)
        return where(d < delta, 0.5 * d * d, delta * (d - 0.5 * delta))


class SignDescent(nnx.Optimizer):
    """Steps of one size, in the direction of an average of the gradients."""

    slots = ("m",)
    settings = ("beta",)

    def __init__(self, lr=1e-3, beta=0.9):
        super().__init__(lr)
        self.beta = beta

    @staticmethod
    def rule(p, g, m, lr, beta):
        m = beta * m + (1 - beta) * g
        return p - lr * sign(m), m


def cooling(step):
    """A rate that falls by a hundredth at each step."""
    return 3e-3 * 0.99**step


def main(backend=None, epochs=5):
    """The last loss, and how the operations were done."""
    data = digits()
    model = nnx.Sequential(nnx.Flatten(), nnx.Affine(30), Swish(1.5), nnx.Affine(10))
    trainer = nnx.Trainer(model, SignDescent(cooling), Huber(0.5), backend=backend)
    trainer.fit(data.inputs(), np.eye(10, dtype=np.float32)[data.t], epochs=epochs)
    return trainer.history["loss"], model.ops.explain()


if __name__ == "__main__":
    losses, explanation = main()
    print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}")
    print(explanation)
