"""The value of a network on a data set: its mean loss and, depending on the loss, accuracy or R2."""

from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..losses import Loss
from ..model import Sequential
from ..ops import HostArray
from ..plan import infer
from ._device_data import DeviceData

_AT_ONCE = 1024  # rows


class Evaluation(NamedTuple):
    """The loss, and the score that goes with it."""

    loss: float
    """Mean over the rows, without weight decay's penalty."""
    score: float | None
    """By the loss' `metric`: the accuracy, the share of rows that are right; or R2, the share of the targets' variance
    that is explained, the mean over the columns. None for a loss without a metric."""


def evaluate(model: Sequential, loss: Loss, data: DeviceData) -> Evaluation:
    """Evaluate a model as it predicts: without dropout, with running statistics.

    Args:
        model: built.
        loss: its `metric` decides the score.
        data: the rows.
    """
    ops, n = model.ops, len(data)
    value = loss.bound(ops, model.dtype)
    sums, right, outputs = [], [], []
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, n, _AT_ONCE):
            index = np.arange(start, min(start + _AT_ONCE, n))
            x, t, *_ = data.gather(ops.to_device(index))
            z = infer(ops, model.stages, x)
            sums.append((value(z, t), len(index)))
            if loss.metric == "accuracy":
                right.append(loss.count_right(ops, z, t))
            elif loss.metric == "r2":
                outputs.append(np.array(ops.to_host(z), np.float64))
        total = sum(float(ops.to_host(mean)) * rows for mean, rows in sums) / n
        score = None
        if loss.metric == "accuracy":
            score = sum(int(ops.to_host(count)) for count in right) / n
        elif loss.metric == "r2":
            score = r_squared(loss.predicted(np.concatenate(outputs)), data.targets())
    return Evaluation(total, score)


def check_tells_accuracy(loss: Loss) -> None:
    """Raise unless the score of this loss is an accuracy."""
    if loss.metric != "accuracy":
        instead = "; evaluate gives R2" if loss.metric == "r2" else ""
        raise InputError(f"accuracy: {loss!r} is of numbers, not of classes{instead}.")


def r_squared(y: HostArray, t: HostArray) -> float:
    """Return 1 - sum((t - y)**2) / sum((t - mean(t))**2) of each column, averaged over the columns, in float64.

    A column of equal targets counts 1 if all predictions meet them, else 0.

    Args:
        y: (n, c) predictions.
        t: (n, c) targets.
    """
    t = np.asarray(t, np.float64)
    missed, spread = ((t - y) ** 2).sum(axis=0), ((t - t.mean(axis=0)) ** 2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(spread > 0, 1 - missed / spread, np.where(missed > 0, 0.0, 1.0))
    return float(scores.mean())
