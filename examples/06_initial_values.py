"""Initial weights: what becomes of the activations in five layers, and of the learning:
`python examples/06_initial_values.py`.

The tutorial explains it: docs/tutorial/06-initial-values.md.
"""

import numpy as np

import nnx

inputs = np.random.default_rng(0).standard_normal((1000, 100))


def spread(activation, init):
    """The standard deviation of the activations of each of five layers of 100 units."""
    layers = [layer for _ in range(5) for layer in (nnx.Affine(100, init=init), activation())]
    model = nnx.Sequential(*layers).build(100, seed=0)
    x, stds = model.native_input("inputs", inputs), []
    for layer in model:
        x = layer.forward(x, False)
        if isinstance(layer, activation):
            stds.append(np.std(model.ops.to_host(x)))
    return stds


print("standard deviation of the activations, layer by layer")
for activation, init in (
    (nnx.Sigmoid, 1.0),  # all at 0 or 1, where the slope is nearly 0
    (nnx.Sigmoid, 0.01),  # all at 0.5: hundred units that say the same
    (nnx.Sigmoid, "xavier"),
    (nnx.ReLU, 0.01),  # vanishing
    (nnx.ReLU, "xavier"),
    (nnx.ReLU, "he"),
):
    print(f"  {activation.__name__:<9}{init!s:<8}", "".join(f"{std:>10.2g}" for std in spread(activation, init)))

train, _, test = nnx.datasets.load("digits", seed=0)
print("digits, five ReLU layers, SGD, 10 epochs")
for init in (0.01, "xavier", "he"):
    trainer = nnx.Trainer(nnx.MLP((100,) * 5, 10, init=init), nnx.SGD(lr=0.1), seed=0)
    trainer.fit(train, epochs=10, batch_size=50, verbose=False)
    print(f"  {init!s:<8} test accuracy {trainer.model.accuracy(test):.4f}")

# Weights that are all equal get equal gradients: a hundred units stay one.
model = nnx.Sequential(nnx.Flatten(), nnx.Affine(100, init=0.0), nnx.Sigmoid(), nnx.Affine(10, init=0.0))
nnx.Trainer(model, nnx.SGD(lr=0.1)).fit(train, epochs=3, verbose=False)
columns = np.unique(model.state_dict()["1.W"].round(6), axis=1).shape[1]
print(f"all-zero weights, after 3 epochs: {columns} different unit(s) of 100")
