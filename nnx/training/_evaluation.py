"""The value of a network on a data set: its mean loss and, depending on the loss, accuracy or R2."""

from contextlib import closing
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..losses import Loss
from ..model import Sequential
from ..ops import HostArray
from ..parallel import Communicator, gathered, share_of
from ..plan import infer
from ._device_data import DeviceData
from ._disk_data import DiskData

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


def evaluate(
    model: Sequential, loss: Loss, data: DeviceData | DiskData, communicator: Communicator | None = None
) -> Evaluation:
    """Evaluate a model as it predicts: without dropout, with running statistics.

    Args:
        model: built.
        loss: its `metric` decides the score.
        data: the rows.
        communicator: of the ranks that share the work, and call this together; None: this process does it all.
    """
    ops, n = model.ops, len(data)
    value = loss.bound(ops, model.dtype)
    sums, right, r2 = [], [], R2()
    pairs: list[tuple[HostArray, HostArray]] = []
    at_once = _AT_ONCE if communicator is None else _OF_RANKS
    own = slice(0, n) if communicator is None else share_of(communicator, n, at_once)
    done, order = own.start, data.order(0, shuffle=False)
    with np.errstate(over="ignore", invalid="ignore"), closing(data.parts(order, 0, at_once, own.start)) as parts:
        for rows, places in parts:
            for start in range(0, min(len(places), own.stop - done), at_once):
                index = places[start : min(start + at_once, own.stop - done)]
                x, t, *_ = rows.gather(ops.to_device(index))
                z = infer(ops, model.stages, x)
                sums.append((value(z, t), len(index)))
                if loss.metric == "accuracy":
                    right.append(loss.count_right(ops, z, t))
                elif loss.metric == "r2":
                    pair = loss.predicted(np.array(ops.to_host(z), np.float64)), np.array(ops.to_host(t))
                    r2.add(*pair) if communicator is None else pairs.append(pair)
            done += len(places)
            if done >= own.stop:
                break
        losses = [float(ops.to_host(mean)) * rows for mean, rows in sums]
        correct = [int(ops.to_host(count)) for count in right]
    if communicator is not None:
        told = communicator.exchange([losses, correct])
        losses, correct = ([number for rank in told for number in rank[i]] for i in range(2))
        if loss.metric == "r2":
            _add_those_of_all(r2, communicator, pairs, model.output_shape)
    score = None
    if loss.metric == "accuracy":
        score = sum(correct) / n
    elif loss.metric == "r2":
        score = r2.value()
    return Evaluation(sum(losses) / n, score)


def _add_those_of_all(
    r2: "R2", communicator: Communicator, pairs: list[tuple[HostArray, HostArray]], outputs: tuple[int, ...]
) -> None:
    """Add the predictions and targets of all ranks, in the parts that one process would have."""
    none = np.empty((0, *outputs))
    y, t = (gathered(communicator, np.concatenate([none, *(pair[i] for pair in pairs)])) for i in range(2))
    for start in range(0, len(y), _OF_RANKS):
        r2.add(y[start : start + _OF_RANKS], t[start : start + _OF_RANKS])


def check_tells_accuracy(loss: Loss) -> None:
    """Raise unless the score of this loss is an accuracy."""
    if loss.metric != "accuracy":
        instead = "; evaluate gives R2" if loss.metric == "r2" else ""
        raise InputError(f"accuracy: {loss!r} predicts numbers, not classes{instead}.")


class R2:
    """1 - sum((t - y)**2) / sum((t - mean(t))**2) of each column, averaged over the columns; the rows come in parts.

    A column of equal targets counts 1 if all predictions meet them, else 0. The parts' means and sums of squares are
    joined as Chan, Golub and LeVeque (1983) do it, in float64.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._missed = self._mean = self._spread = self._origin = np.zeros(1)

    def add(self, y: HostArray, t: HostArray) -> None:
        """Add predictions and targets, (n, c) each."""
        t, n = np.asarray(t, np.float64), len(t)
        self._missed = self._missed + ((t - y) ** 2).sum(axis=0)
        if not self._rows:
            self._origin = t[0]
        t = t - self._origin  # of equal targets exactly 0
        mean, rows = t.mean(axis=0), self._rows + n
        away = mean - self._mean
        self._spread = self._spread + ((t - mean) ** 2).sum(axis=0) + away**2 * (self._rows * n / rows)
        self._mean, self._rows = self._mean + away * (n / rows), rows

    def value(self) -> float:
        """Return R2 of all rows so far."""
        with np.errstate(divide="ignore", invalid="ignore"):
            missed = np.where(self._missed > 0, 0.0, 1.0)
            return float(np.where(self._spread > 0, 1 - self._missed / self._spread, missed).mean())
