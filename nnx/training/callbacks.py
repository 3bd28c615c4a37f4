"""Callbacks: what `Trainer.fit` calls during a training.

A callback is any `callback(trainer, epoch, logs)`, called after every epoch: epoch counts from 1, logs holds that
epoch's history entries; a true return value ends the training. It may also have the methods of `Callback`, of which it
need not be a subclass. One that has `state_dict() -> dict[str, numpy.ndarray]` and `load_state_dict` is kept in
checkpoints.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .._support.checks import check_count, check_number
from ..errors import InputError, InputTypeError, unknown
from ..ops import Array, HostArray

if TYPE_CHECKING:
    from ._trainer import Trainer


class Callback:
    """Base of callbacks: each method does nothing, and a subclass defines those that it wants.

    An exception from a callback ends the training; the history and the checkpoint are kept. Where several ranks train
    together, every rank calls its own callbacks with the same numbers, and if one ends the training, it ends for all.
    """

    every_rank: ClassVar[bool] = True
    """False: rank 0 alone calls it, because it writes files; it must not call what all ranks call together."""

    def on_begin(self, trainer: "Trainer") -> None:
        """Act when the training begins, or goes on."""

    def on_epoch_begin(self, trainer: "Trainer", epoch: int) -> None:
        """Act when an epoch begins; not when one goes on in its middle.

        Args:
            trainer: the trainer.
            epoch: its number, counted from 1.
        """

    def on_step(self, trainer: "Trainer", step: int, loss: Array) -> None:
        """Act after a step. A GPU does not record several steps together if a callback has this method.

        Args:
            trainer: the trainer.
            step: its number over all trainings, counted from 1.
            loss: 0-d on the device; reading it waits for the step.
        """

    def __call__(self, trainer: "Trainer", epoch: int, logs: dict[str, float], /) -> Any:
        """Act after an epoch; return True to end the training.

        Args:
            trainer: the trainer.
            epoch: its number, counted from 1.
            logs: the epoch's entries of the history, such as "loss" and "val_loss".
        """

    def on_end(self, trainer: "Trainer", finished: bool) -> None:
        """Act when the training has ended.

        Args:
            trainer: the trainer.
            finished: whether it ended by itself or by a callback's wish, not by Ctrl-C or an error.
        """


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


def has_hook(callback: Any, name: str) -> bool:
    """Return whether a callback defines this method of `Callback`."""
    method = getattr(type(callback), name, None)
    return method is not None and method is not getattr(Callback, name)


def check_callbacks(callbacks: Any) -> None:
    """Raise unless it is a list of callables with a method that is called, and none that is only named like those."""
    if isinstance(callbacks, str) or not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise InputTypeError(f"callbacks: got {callbacks!r}, expected a list of callables such as [callback].")
    for callback in callbacks:
        for name in dir(type(callback)):
            if name.startswith("on_") and name not in HOOKS:
                raise unknown(f"method of {type(callback).__name__}", name, [*HOOKS, "__call__"])
        silent = isinstance(callback, Callback) and type(callback).__call__ is Callback.__call__
        if silent and not any(has_hook(callback, name) for name in HOOKS):
            raise InputError(
                f"callbacks: {type(callback).__name__} would do nothing: it defines none of __call__, "
                f"{', '.join(HOOKS)}."
            )


def _rises(monitor: str) -> bool:
    """Return whether greater values of this entry of the history are better."""
    return "accuracy" in monitor or "r2" in monitor


class _Waiting(Callback):
    """Base of callbacks that count the epochs in which an entry of the history has not got better."""

    def __init__(self, monitor: str, patience: int, min_delta: float) -> None:
        self.monitor = monitor
        self.patience = check_count("patience", patience)
        self.min_delta = check_number("min_delta", min_delta, 0)
        self.best, self.waited = math.inf, 0

    def improved(self, logs: dict[str, float]) -> bool:
        """Return whether the epoch was better than all before it, and count it as waited for if not."""
        if self.monitor not in logs:
            raise InputError(
                f"{type(self).__name__}: there is no {self.monitor!r} in the history, only {', '.join(logs)}; pass "
                "validation_data to fit, or monitor another entry."
            )
        value = -logs[self.monitor] if _rises(self.monitor) else logs[self.monitor]
        better = value < self.best - self.min_delta
        self.best, self.waited = (value, 0) if better else (self.best, self.waited + 1)
        return better

    def state_dict(self) -> dict[str, HostArray]:
        """Return what a checkpoint keeps."""
        return {"progress": np.array([self.best, self.waited], np.float64)}

    def load_state_dict(self, state: dict[str, HostArray]) -> None:
        """Take over what `state_dict` gave."""
        best, waited = state["progress"]
        self.best, self.waited = float(best), int(waited)


class EarlyStopping(_Waiting):
    """Ends the training when an entry of the history has stopped getting better.

    Args:
        monitor: the entry; those with "accuracy" or "r2" should rise, all others fall.
        patience: after how many epochs in succession without improvement the training ends.
        min_delta: an improvement is one by more than this.
        restore_best: whether the parameters return to those of the best epoch at the end.
    """

    def __init__(
        self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0, restore_best: bool = True
    ) -> None:
        super().__init__(monitor, patience, min_delta)
        self.restore_best = restore_best
        self._best_state: dict[str, HostArray] = {}

    def __call__(self, trainer: "Trainer", epoch: int, logs: dict[str, float]) -> bool:
        if self.improved(logs) and self.restore_best:
            self._best_state = trainer.model.state_dict()
        return self.waited >= self.patience

    def reason(self, epoch: int) -> str:
        """Say why it ended the training after this epoch."""
        best = -self.best if _rises(self.monitor) else self.best
        back = ", to whose parameters the model returned" if self.restore_best else ""
        return f"{self.monitor} was best in epoch {epoch - self.waited}, {best:.4f}{back}"

    def on_end(self, trainer: "Trainer", finished: bool) -> None:
        """Return to the best parameters, unless the training may be continued."""
        if finished and self._best_state:
            trainer.model.load_state_dict(self._best_state)

    def state_dict(self) -> dict[str, HostArray]:
        return {**super().state_dict(), **self._best_state}

    def load_state_dict(self, state: dict[str, HostArray]) -> None:
        super().load_state_dict(state)
        self._best_state = {name: array for name, array in state.items() if name != "progress"}


class ReduceOnPlateau(_Waiting):
    """Lowers the optimizer's learning rate when an entry of the history has stopped getting better, and counts anew.

    The rate must be a number; a schedule decides by itself when to fall. In a checkpoint the optimizer keeps the rate.

    Args:
        monitor: the entry, as for `EarlyStopping`.
        factor: in (0, 1); the rate is multiplied by it.
        patience: after how many epochs without improvement that happens.
        min_delta: an improvement is one by more than this.
        least: the rate does not fall below it.

    Raises:
        InputError: from `fit`, if the rate follows a schedule or the history has no such entry.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 3,
        min_delta: float = 0.0,
        least: float = 0.0,
    ) -> None:
        self.factor = check_number("factor", factor, 0, 1, above=True)
        super().__init__(monitor, patience, min_delta)
        self.least = check_number("least", least, 0)

    def on_begin(self, trainer: "Trainer") -> None:
        if not isinstance(trainer.optimizer.lr, float):
            raise InputError(
                f"ReduceOnPlateau: the learning rate follows {trainer.optimizer.lr!r}; pass a number as lr."
            )

    def __call__(self, trainer: "Trainer", epoch: int, logs: dict[str, float], /) -> None:
        if not self.improved(logs) and self.waited >= self.patience:
            rate = trainer.optimizer.rate(trainer.steps)
            trainer.optimizer.lr = max(rate * self.factor, min(self.least, rate))
            self.waited = 0
