"""Training against validation accuracy, epoch by epoch: what an experiment on generalisation looks at."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets import Dataset
from ..errors import DivergedError
from ..trainer import Trainer
from ._training import Tick


@dataclass(frozen=True)
class Learning:
    """One training: an entry an epoch, fewer if it diverged."""

    accuracy: tuple[float, ...]
    """Share of the training rows, after the epoch."""
    val_accuracy: tuple[float, ...]
    diverged: str | None
    """Where the loss became NaN or infinite, if it did."""

    @property
    def final(self) -> float:
        """The training accuracy at the end; 0 if it diverged."""
        return 0.0 if self.diverged is not None else self.accuracy[-1]

    def settled(self) -> tuple[float, float]:
        """Training and validation accuracy, each the mean over the last fifth of the epochs: less a matter of chance
        than those of the last one. Not of a training that diverged."""
        last = -(-len(self.accuracy) // 5)
        return float(np.mean(self.accuracy[-last:])), float(np.mean(self.val_accuracy[-last:]))

    @property
    def gap(self) -> float:
        """By how much the settled training accuracy exceeds the settled validation accuracy."""
        train, validation = self.settled()
        return train - validation


def learn(
    trainer: Trainer, train: Dataset, validation: Dataset, *, epochs: int, batch_size: int, name: str, tick: Tick
) -> Learning:
    """Fit the trainer; a divergence is a result among others. Ctrl-C ends the whole experiment."""
    diverged = None

    def told(trainer: Trainer, epoch: int, logs: dict[str, float]) -> Any:
        tick(name)

    try:
        trainer.fit(
            train, epochs=epochs, batch_size=batch_size, validation_data=validation, callbacks=[told], verbose=False
        )
    except DivergedError as error:
        diverged = str(error)
    if trainer.interrupted:
        raise KeyboardInterrupt
    history = trainer.history
    return Learning(tuple(history.get("accuracy", ())), tuple(history.get("val_accuracy", ())), diverged)
