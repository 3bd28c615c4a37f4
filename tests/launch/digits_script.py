"""A training on the digits, for real launches: `CHECKPOINT EPOCHS [FAULT]`, where rank 1 has or meets the fault."""

import hashlib
import os
import signal
import sys
from pathlib import Path

import numpy as np

import nnx

EPOCH = 13
"""Steps, of 100 rows; the last one has fewer."""
STEP = 3 * EPOCH - 4
"""In which a fault is met."""


class Fault(nnx.Callback):
    def __init__(self, fault: str) -> None:
        self.fault = fault

    def on_step(self, trainer: nnx.Trainer, step: int, loss: object) -> None:
        if step != STEP or os.environ.get("NNX_RESTARTS") != "0":
            return
        if self.fault == "raise":
            raise ValueError("this rank does not feel well")
        if self.fault.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, self.fault))


def network() -> nnx.Sequential:
    return nnx.Sequential(nnx.Affine(30), nnx.BatchNorm(), nnx.ReLU(), nnx.Dropout(0.1), nnx.Affine(10))


def digest(trainer: nnx.Trainer) -> str:
    arrays = trainer.model.state_dict().values()
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def trained(checkpoint: Path, epochs: int, fault: str = "", **settings: object) -> nnx.Trainer:
    ranks = nnx.world()
    wrong = fault if ranks.rank == 1 else ""
    data = nnx.datasets.load("digits")
    x, t = data.train.x.reshape(len(data.train), -1), data.train.t
    if checkpoint.exists():
        trainer = nnx.Trainer.load(checkpoint, parallel=ranks)
    else:
        trainer = nnx.Trainer(network(), "adam", seed=int(wrong == "seed"), parallel=ranks, **settings)
    trainer.fit(
        x + (wrong == "data"), t, epochs=epochs, checkpoint=checkpoint, callbacks=[Fault(wrong)], train_accuracy=False
    )
    return trainer


if __name__ == "__main__":
    done = trained(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
    print("done", done.steps, done.interrupted, digest(done))
