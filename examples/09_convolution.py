"""A convolutional network, what its filters look for, and what it makes of shifted pictures:
`python examples/09_convolution.py` (of MNIST, a minute or more: `python examples/09_convolution.py mnist`).

The tutorial explains it: docs/tutorial/11-pictures.md.
"""

import sys

import numpy as np

import nnx

dataset = sys.argv[1] if len(sys.argv) > 1 else "digits"
train, val, test = nnx.datasets.load(dataset, seed=0).pictures()
print(f"{dataset}: {len(train)} pictures to train on, each {' x '.join(map(str, train.x.shape[1:]))} bytes")

networks = {
    "perceptron": nnx.MLP((100,), 10),
    "convolution": nnx.SimpleConvNet(10, size=3),
    "convolution, shifted": nnx.Sequential(nnx.RandomShift(1), *nnx.SimpleConvNet(10, size=3)),
}
moved = np.zeros_like(test.x)
moved[..., 1:] = test.x[..., :-1]  # every test picture one pixel to the right
for name, model in networks.items():
    trainer = nnx.Trainer(model, nnx.Adam(lr=2e-3), seed=0)
    trainer.fit(train, epochs=10, batch_size=50, validation_data=val, verbose=False)
    plain, right = model.accuracy(test), model.accuracy(moved * test.scale, test.t)
    print(f"{name:<21} test accuracy {plain:.4f}, of pictures moved by a pixel {right:.4f}")
# A convolution sees the same thing wherever it lies; shifts in training make the whole network less sensitive to it.

weights = networks["convolution"].state_dict()["0.W"][:, 0]  # (filters, 3, 3)
strongest = weights[np.argsort(-np.abs(weights).sum(axis=(1, 2)))[:8]]
levels = np.digitize(strongest / np.abs(strongest).max(axis=(1, 2), keepdims=True), [-0.6, -0.2, 0.2, 0.6])
print("the eight strongest filters (= and - less than nothing, + and # more): edges and strokes")
for line in levels.transpose(1, 0, 2):
    print("  " + "     ".join("".join("=- +#"[level] for level in row) for row in line))
# `nnx.lab.inspect(trainer, dataset).figures()` draws them, and what each answers to.
