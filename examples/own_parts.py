"""An activation, a loss, an optimizer, a schedule and a layer of one's own, trained on the digits (docs/extending.md):
`python examples/own_parts.py`."""

import numpy as np

import nnx
from nnx.datasets import digits
from nnx.formula import abs, sigmoid, sign, where  # noqa: A004  the field's name
from nnx.plan import Stage, stage_of


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


class Thinned(nnx.Layer):
    """x @ W, of which a random share is set to 0 in training and the rest scaled up."""

    fields = ("ratio",)
    random = True

    def __init__(self, ratio=0.1):
        super().__init__()
        self.ratio = ratio

    def declare(self, shape):
        return [nnx.Spec("W", (shape[0], shape[0]), init="xavier", decay=True)], shape

    def random_key(self, seed, step):
        key = super().random_key(seed, step)
        key[5] = int(self.ratio * 2**32)  # the threshold of the operation dropout
        return key

    def forward(self, x, train_flg=True):
        y = self.ops.affine(x, self.params["W"])
        if not train_flg:
            return y
        factor = self.ops.to_device(np.array(1 / (1 - self.ratio), x.dtype))
        self.last = x, self.ops.xp.empty(y.shape, dtype=self.ops.xp.bool), factor
        return self.ops.dropout(y, self.rng, factor, mask=self.last[1])

    def backward(self, dout):
        x, mask, factor = self.last
        dy, dx = self.ops.dropout_backward(dout, mask, factor), self.ops.xp.empty_like(x)
        self.ops.affine_backward(dy, x, self.params["W"], dx=dx, dw=self.grads["W"])
        return dx


@stage_of(Thinned)
class ThinnedStage(Stage):
    """The same in training, on buffers of the plan."""

    def forward(self, program):
        ops, w, row = program.ops, self.layer.params["W"], program.random_row(self.layer)
        product, out = program.output(self.shape), program.output(self.shape)
        factor, mask = self.factor(program), program.rows(self.shape, "bool")
        program.masks[self] = mask  # of the batches of this size
        return lambda x: ops.dropout(ops.affine(x, w, out=product), program.rng[row, ...], factor, out=out, mask=mask)

    def backward(self, program, db, needs_dx):
        ops, w, dw = program.ops, self.layer.params["W"], self.layer.grads["W"]
        factor, mask = self.factor(program), program.masks[self]
        thinned, dx = program.gradient(self.shape), program.gradient(self.shape)

        def run(dy, x, y):
            ops.dropout_backward(dy, mask, factor, out=thinned)
            ops.affine_backward(thinned, x, w, dx=dx, dw=dw)
            return dx

        return run

    def factor(self, program):
        return program.constant(1 / (1 - self.layer.ratio))


def cooling(step):
    """A rate that falls by a hundredth at each step."""
    return 3e-3 * 0.99**step


def main(backend=None, epochs=5):
    """The last loss, and how the operations were done."""
    data = digits()
    model = nnx.Sequential(nnx.Flatten(), nnx.Affine(30), Swish(1.5), Thinned(), nnx.Affine(10))
    trainer = nnx.Trainer(model, SignDescent(cooling), Huber(0.5), backend=backend)
    trainer.fit(data.inputs(), np.eye(10, dtype=np.float32)[data.t], epochs=epochs)
    return trainer.history["loss"], model.ops.explain()


if __name__ == "__main__":
    losses, explanation = main()
    print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}")
    print(explanation)
