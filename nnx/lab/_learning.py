"""Training against validation accuracy, epoch by epoch, for experiments on generalisation."""

from dataclasses import dataclass

import numpy as np

from ..datasets import Dataset
from ..training import DeviceData, Trainer
from ._training import Tick, fit


@dataclass(frozen=True)
class Learning:
    """One training: an entry for every epoch after which accuracies were computed, fewer if it diverged."""

    epochs: tuple[int, ...]
    """Numbers of the epochs, from 1."""
    accuracy: tuple[float, ...]
    """Share of the training rows that are right after the epoch."""
    val_accuracy: tuple[float, ...]
    diverged: str | None
    """Where the loss became NaN or infinite, if it did."""

    @property
    def final(self) -> float:
        """The training accuracy at the end; 0 if it diverged."""
        return 0.0 if self.diverged is not None else self.accuracy[-1]

    def settled(self) -> tuple[float, float]:
        """Return training and validation accuracy, each as the mean over the last fifth of the entries.

        Such a mean depends less on chance than the last entry. A training that diverged has none.
        """
        last = -(-len(self.accuracy) // 5)
        return float(np.mean(self.accuracy[-last:])), float(np.mean(self.val_accuracy[-last:]))

    @property
    def gap(self) -> float:
        """The settled training accuracy less the settled validation accuracy."""
        train, validation = self.settled()
        return train - validation


def learn(
    trainer: Trainer,
    train: Dataset,
    validation: Dataset,
    *,
    epochs: int,
    batch_size: int,
    looks: int,
    name: str,
    tick: Tick,
) -> Learning:
    """Fit the trainer, and compute accuracies after `looks` epochs, evenly spaced, the last among them.

    Computing them after every epoch may take longer than the training. A divergence is a result like any other. Ctrl-C
    ends the whole experiment.
    """
    trainer.build(train.x.shape[1:])
    parts = [DeviceData(trainer.model, trainer.loss, part, None, name="x", target="t") for part in (train, validation)]
    looks = min(looks, epochs)
    looked_at = {round(epochs * (look + 1) / looks) for look in range(looks)}
    seen: list[int] = []
    accuracies: tuple[list[float], list[float]] = [], []

    def look(epoch: int) -> None:
        if epoch in looked_at:
            seen.append(epoch)
            for found, part in zip(accuracies, parts, strict=True):
                found.append(trainer.evaluate(part).score or 0.0)

    diverged = fit(trainer, train, name, tick, look, epochs=epochs, batch_size=batch_size)
    return Learning(tuple(seen), tuple(accuracies[0]), tuple(accuracies[1]), diverged)
