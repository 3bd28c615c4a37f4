"""One-hot labels, losses, the numerical gradient, and descent with the learning rate:
`python examples/02_losses_and_gradients.py`.

The tutorial explains it: docs/tutorial/02-loss.md to 04-gradient-descent.md.
"""

import numpy as np

import nnx
from nnx.functions import cross_entropy_error, mean_squared_error, numerical_gradient, one_hot

t = one_hot([2], 3)
print("label 2 of three classes as a one-hot row:", t[0])

print("probabilities                 squared error   cross entropy")
for y in ([0.05, 0.05, 0.9], [0.3, 0.3, 0.4], [0.9, 0.09, 0.01]):
    row = np.array([y])
    print(f"{y!s:<30}{float(mean_squared_error(row, t)):<16.3f}{float(cross_entropy_error(row, t)):.3f}")
# Cross entropy has no bound: a network that is sure and wrong is told so by a steep gradient.


def bowl(p):
    return p[0] ** 2 / 20 + p[1] ** 2


backend = nnx.get_backend()
gradient = backend.to_host(numerical_gradient(bowl, backend.to_device(np.array([-7.0, 2.0]))))
print(f"gradient of x**2 / 20 + y**2 at (-7, 2): numerical {gradient.round(6)}, by hand [-0.7 4.]")

print("descent from there, 50 steps:")
for lr in (0.01, 0.9, 1.05):
    params = {"p": backend.to_device(np.array([-7.0, 2.0]))}
    optimizer = nnx.SGD(lr=lr)
    for _ in range(50):
        optimizer.update(params, {"p": numerical_gradient(bowl, params["p"])})
    print(f"  lr = {lr:<5} ends at a height of {float(bowl(params['p'])):.3g}")
# In y every step multiplies by 1 - 2 * lr: slowly towards 0, fast, or, above lr = 1, away from it.

print("the same three stories on digits, 10 epochs:")
train, _, test = nnx.datasets.load("digits", seed=0)
for lr in (1e-4, 0.1, 100.0):
    trainer = nnx.Trainer(nnx.MLP((50,), 10), nnx.SGD(lr=lr), seed=0)
    try:
        trainer.fit(train, epochs=10, batch_size=50, verbose=False)
        print(f"  lr = {lr:<7} test accuracy {trainer.model.accuracy(test):.4f}")
    except nnx.DivergedError:
        print(f"  lr = {lr:<7} diverged")
