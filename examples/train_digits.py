"""Train a network on real digits, look at it, save it, and continue it: `python examples/train_digits.py`.

The tutorial explains it: docs/tutorial/12-what-next.md.
"""

import tempfile
from pathlib import Path

import nnx

train, validation, test = nnx.datasets.load("digits", seed=0)
model = nnx.Sequential(
    nnx.Flatten(),
    nnx.Affine(100),
    nnx.BatchNorm(),
    nnx.ReLU(),
    nnx.Dropout(0.3),
    nnx.Affine(10),
)
trainer = nnx.Trainer(model, nnx.Adam(lr=1e-3), nnx.SoftmaxCrossEntropy(), weight_decay=1e-4, seed=0)
trainer.fit(train, epochs=10, batch_size=50, validation_data=validation)
print(model.summary())
print(f"test accuracy {model.accuracy(test):.4f}")

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "run.safetensors"
    trainer.save(file)
    trainer = nnx.Trainer.load(file)
trainer.fit(train, epochs=20, batch_size=50, validation_data=validation)  # ten more: it goes on where it was
print(f"test accuracy {trainer.model.accuracy(test):.4f}")
print(trainer.model.ops.explain())
