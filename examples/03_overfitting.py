"""Overfitting, and weight decay against it: `python examples/03_overfitting.py`.

The tutorial explains it: docs/tutorial/08-overfitting.md.
"""

import numpy as np

import nnx

train, _, _ = nnx.datasets.load("digits", seed=0)
few = train.take(np.arange(300))  # few rows and many large weights: all is set for learning by heart
others = train.take(np.arange(300, len(train)))

print("weight decay   on the 300 rows   on others      gap   size of the weights")
for weight_decay in (0.0, 0.02):
    trainer = nnx.Trainer(nnx.MLP((100, 100, 100), 10, init=0.3), nnx.SGD(lr=0.1), weight_decay=weight_decay, seed=0)
    trainer.fit(few, epochs=100, batch_size=100, train_accuracy=False, verbose=False)
    seen, unseen = trainer.model.accuracy(few), trainer.model.accuracy(others)
    size = np.mean([np.std(w) for name, w in trainer.model.state_dict().items() if name.endswith("W")])
    print(f"{weight_decay:<15}{seen:<18.4f}{unseen:<12.4f}{seen - unseen:>7.4f}{size:>22.3f}")
# The penalty on their squares pulls the weights back to what the data call for.
