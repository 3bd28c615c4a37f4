"""Batch normalization: what it does to a layer, and what that makes possible:
`python examples/07_batch_normalization.py`.

The tutorial explains it: docs/tutorial/07-batch-normalization.md.
"""

import numpy as np

import nnx

backend = nnx.get_backend()
layer = nnx.BatchNorm(*(backend.to_device(np.full(3, value)) for value in (1.0, 0.0)))
x = np.random.default_rng(0).normal([5.0, -1.0, 0.0], [10.0, 1.0, 0.1], (100, 3))
y = backend.to_host(layer.forward(backend.to_device(x)))
print(f"three columns before: means {x.mean(axis=0).round(2)}, standard deviations {x.std(axis=0).round(2)}")
print(f"and after:            means {np.abs(y.mean(axis=0)).round(2)}, standard deviations {y.std(axis=0).round(2)}")

result = nnx.lab.batchnorm("digits", stds=(0.01, 0.1), lrs=(0.1, 1.0), epochs=8, batch_size=50, verbose=False)
print(result)
# The scale of the weights drops out of the normalised sums, and with it most of what a step can spoil.
# `result.plot()` shows it, `result.save("folder")` keeps it.
