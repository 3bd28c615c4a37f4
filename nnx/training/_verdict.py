"""Whether a training has learned anything, by its history: what is better than one answer for all rows."""

import math
from typing import TYPE_CHECKING

import numpy as np

from ._device_data import DeviceData
from ._disk_data import DiskData

if TYPE_CHECKING:
    from ._trainer import Trainer

_FOUND = "the network has not learned"
_BETTER = 0.02  # of what the most frequent answer leaves wrong: less is no learning
_MORE = 1.1  # times the loss at the beginning
_FAR_ABOVE = 2.0  # times the loss of giving all classes the same probability


def not_learned(trainer: "Trainer", data: DeviceData | DiskData) -> str:
    """Say that the network has not learned, and what to try; an empty text if it has, or if nobody can tell.

    It has not where the accuracy on the training rows is that of the most frequent class alone, or R2 is not above 0.
    With weights of rows or classes that may be what was asked for.

    Args:
        trainer: trained; its history has the accuracy or R2 of the training rows.
        data: the training rows.
    """
    metric = trainer.loss.metric
    scores = trainer.history.get(str(metric))
    if not scores or data.weight is not None:
        return ""
    if metric == "r2":
        if scores[-1] > 0:
            return ""
        return f"{_FOUND}: R2 is {scores[-1]:.4g}, and that of the mean alone is 0. {_advice(trainer)}"
    counts = np.unique(data.targets(), axis=0, return_counts=True)[1]
    most = counts.max() / len(data)
    if most == 1 or scores[-1] > most + _BETTER * (1 - most):
        return ""
    classes = max(len(counts), trainer.model.output_shape[-1])
    return (
        f"{_FOUND}: accuracy {scores[-1]:.4f}, and always giving the most frequent class has {most:.4f}. "
        f"{_advice(trainer, math.log(classes))}"
    )


def _advice(trainer: "Trainer", guess: float | None = None) -> str:
    """Say what to try, by the course of the loss; `guess` is the loss of giving all classes the same probability."""
    loss, rate = trainer.history["loss"], trainer.optimizer.rate(trainer.steps - 1)
    too_large = loss[-1] > _MORE * loss[0] or (guess is not None and loss[-1] > _FAR_ABOVE * guess)
    kind, more = ("a smaller", "") if too_large else ("another", ", more epochs")
    scaled = "inputs scaled to about -1..1" if guess is not None else "inputs and targets scaled to about -1..1"
    return f"Try {kind} learning rate (it was {rate:g}; nnx lab lr-find suggests one){more}, or {scaled}."
