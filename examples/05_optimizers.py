"""Optimizers on an elongated bowl and on digits: `python examples/05_optimizers.py`.

The tutorial explains it: docs/tutorial/05-optimizers.md.
"""

import numpy as np

import nnx

backend = nnx.get_backend()


def path(optimizer, most=200):
    """The points from (-7, 2) until within 0.5 of the minimum of x**2 / 20 + y**2, or after `most` steps."""
    params = {"p": backend.to_device(np.array([-7.0, 2.0]))}
    points = [np.array([-7.0, 2.0])]
    while np.linalg.norm(points[-1]) > 0.5 and len(points) <= most:
        slope = backend.to_device(np.array([points[-1][0] / 10, 2 * points[-1][1]]))
        optimizer.update(params, {"p": slope})
        points.append(np.array(backend.to_host(params["p"])))
    return np.array(points)


print("the bowl x**2 / 20 + y**2, from (-7, 2) to within 0.5 of its minimum")
print(f"{'':<10}{'steps':>7}{'length':>9}{'turns in y':>12}")
for optimizer in (nnx.SGD(lr=0.95), nnx.Momentum(lr=0.1), nnx.AdaGrad(lr=1.5), nnx.Adam(lr=0.3)):
    points = path(optimizer)
    length = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
    turns = int(np.sum(np.diff(np.sign(np.diff(points[:, 1]))) != 0))
    print(f"{type(optimizer).__name__:<10}{len(points) - 1:>7}{length:>9.1f}{turns:>12}")
# SGD zigzags across the valley: the slope points down its walls, hardly along it.

train, _, test = nnx.datasets.load("digits", seed=0)
print("digits, five hidden layers, 10 epochs from the same weights, on the same batches")
for optimizer in (nnx.SGD(lr=0.01), nnx.Momentum(lr=0.01), nnx.AdaGrad(lr=0.01), nnx.Adam(lr=0.001)):
    trainer = nnx.Trainer(nnx.MLP((100,) * 5, 10), optimizer, seed=0)
    loss = trainer.fit(train, epochs=10, batch_size=50, verbose=False)["loss"][-1]
    print(f"{type(optimizer).__name__:<10} training loss {loss:.3f}, test accuracy {trainer.model.accuracy(test):.4f}")
