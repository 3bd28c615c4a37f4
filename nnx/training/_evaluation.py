"""The value of a network on a data set: its mean loss and, depending on the loss, accuracy or R2."""

from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..losses import Loss
from ..model import Sequential
from ..ops import HostArray
from ..parallel import Communicator, gathered, share_of
from ..plan import infer
from ._device_data import DeviceData

_AT_ONCE = 1024  # rows
_OF_RANKS = 256
"""Rows at once where several ranks evaluate, on any number of ranks: few enough for each to have some."""


class Evaluation(NamedTuple):
    """The loss, and the score that goes with it."""

    loss: float
    """Mean over the rows, without weight decay's penalty."""
    score: float | None
    """By the loss' `metric`: the accuracy, the share of rows that are right; or R2, the share of the targets' variance
    that is explained, the mean over the columns. None for a loss without a metric."""


def evaluate(model: Sequential, loss: Loss, data: DeviceData, communicator: Communicator | None = None) -> Evaluation:
    """Evaluate a model as it predicts: without dropout, with running statistics.

    Args:
        model: built.
        loss: its `metric` decides the score.
        data: the rows.
        communicator: of the ranks that share the work, and call this together; None: this process does it all.
    """
    ops, n = model.ops, len(data)
    value = loss.bound(ops, model.dtype)
    sums, right, outputs = [], [], []
    at_once = _AT_ONCE if communicator is None else _OF_RANKS
    own = slice(0, n) if communicator is None else share_of(communicator, n, at_once)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(own.start, own.stop, at_once):
            index = np.arange(start, min(start + at_once, own.stop))
            x, t, *_ = data.gather(ops.to_device(index))
            z = infer(ops, model.stages, x)
            sums.append((value(z, t), len(index)))
            if loss.metric == "accuracy":
                right.append(loss.count_right(ops, z, t))
            elif loss.metric == "r2":
                outputs.append(np.array(ops.to_host(z), np.float64))
        parts = np.array([float(ops.to_host(mean)) * rows for mean, rows in sums])
        counts = np.array([int(ops.to_host(count)) for count in right])
        y = np.concatenate(outputs) if outputs else np.empty((0, *model.output_shape))
        if communicator is not None:
            parts, counts, y = (gathered(communicator, part) for part in (parts, counts, y))
        score = None
        if loss.metric == "accuracy":
            score = int(counts.sum()) / n
        elif loss.metric == "r2":
            score = r_squared(loss.predicted(y), data.targets())
    return Evaluation(sum(parts.tolist()) / n, score)


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
