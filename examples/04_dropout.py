"""Dropout: a random part of the units is silent at every step: `python examples/04_dropout.py`.

The tutorial explains it: docs/tutorial/09-dropout.md.
"""

import numpy as np

import nnx

backend = nnx.get_backend()
layer = nnx.Dropout(0.5, seed=0)
ones = backend.to_device(np.ones((2, 12)))
for step in (1, 2):
    print(f"training, step {step}: {backend.to_host(layer.forward(ones))[0].astype(int)}")
print(f"afterwards:       {backend.to_host(layer.forward(ones, False))[0]}, what the next layer is used to in the mean")

train, _, _ = nnx.datasets.load("digits", seed=0)
few = train.take(np.arange(300))
others = train.take(np.arange(300, len(train)))

print("dropout   on the 300 rows   on others      gap")
for ratio in (0.0, 0.2):
    trainer = nnx.Trainer(nnx.MLP((100, 100, 100), 10, init=0.3, dropout=ratio), nnx.SGD(lr=0.1), seed=0)
    trainer.fit(few, epochs=100, batch_size=100, train_accuracy=False, verbose=False)
    seen, unseen = trainer.model.accuracy(few), trainer.model.accuracy(others)
    print(f"{ratio:<10}{seen:<18.4f}{unseen:<12.4f}{seen - unseen:>7.4f}")
# No unit can rely on the presence of another. `nnx.lab.overfit` compares dropout, weight decay and both.
