"""Activation functions, their slopes, and why a network without them is a single layer:
`python examples/01_activation_functions.py`.

The tutorial explains it: docs/tutorial/01-activation-functions.md.
"""

import numpy as np

import nnx
from nnx.functions import step

backend = nnx.get_backend()
x = backend.to_device(np.array([-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0]))

print("values at x =", backend.to_host(x))
print("step()    ", backend.to_host(step(x)))
for layer in (nnx.Sigmoid(), nnx.Tanh(), nnx.ReLU()):
    y = layer.forward(x)
    slope = layer.backward(x * 0 + 1)
    print(f"{layer!r:<10} {np.round(backend.to_host(y), 3)}\n  slopes   {np.round(backend.to_host(slope), 3)}")

# The step function's slope is 0 wherever it has one: nothing to learn by. The sigmoid's is 0.25 at most, so that five
# layers of it let at most a thousandth of the gradient through.
print(f"greatest slope of five sigmoids in a row: {0.25**5:.5f}")

# Layers without an activation between them collapse: x @ W1 @ W2 @ W3 is x @ (W1 @ W2 @ W3).
deep = nnx.Sequential(nnx.Affine(50, bias=False), nnx.Affine(50, bias=False), nnx.Affine(2, bias=False))
deep.build(10, dtype="float64")
product = np.linalg.multi_dot([backend.to_host(w) for w in deep.params.values()])
inputs = np.random.default_rng(0).standard_normal((100, 10))
difference = np.abs(deep.predict(inputs) - inputs @ product).max()
print(f"three linear layers and one with the product of their weights differ by {difference:.1e}")

# What that costs: the exclusive or of two signs cannot be told apart by any single layer.
rng = np.random.default_rng(0)
points = rng.uniform(-1, 1, (1000, 2))
labels = (points[:, 0] * points[:, 1] > 0).astype(int)
for activation in ("identity", "relu"):
    trainer = nnx.Trainer(nnx.MLP((20, 20), 2, activation=activation), nnx.Adam(lr=0.01))
    trainer.fit(points[:800], labels[:800], epochs=20, batch_size=50, verbose=False)
    print(f"exclusive or, {activation:<9} test accuracy {trainer.model.accuracy(points[800:], labels[800:]):.3f}")
