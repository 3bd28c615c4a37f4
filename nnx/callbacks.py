"""What `Trainer.fit` calls after every epoch.

A callback is any `callback(trainer, epoch, logs)`: epoch counts from 1, logs holds that epoch's history entries; what
is true in its return value ends the training. One that has `state_dict() -> dict[str, numpy.ndarray]` and
`load_state_dict` is kept in checkpoints.
"""

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .backend import HostArray
from .checks import check_count, check_number
from .errors import InputError

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback(Protocol):
    """Called after every epoch. A class derived from it defines `__call__`; a function is one as it is."""

    @abstractmethod
    def __call__(self, trainer: "Trainer", epoch: int, logs: dict[str, float], /) -> Any: ...


class EarlyStopping:
    """Ends the training after `patience` epochs in which `monitor` did not get better by more than `min_delta`.

    monitor: an entry of the history; those with "accuracy" should rise, all others fall. `restore_best=True` returns to
    the parameters of the best epoch at the end.
    """

    def __init__(
        self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0, restore_best: bool = True
    ) -> None:
        self.monitor = monitor
        self.patience = check_count("patience", patience)
        self.min_delta = check_number("min_delta", min_delta, 0)
        self.restore_best = restore_best
        self.best = math.inf
        self.waited = 0
        self._best_state: dict[str, HostArray] = {}

    def __call__(self, trainer: "Trainer", epoch: int, logs: dict[str, float]) -> bool:
        if self.monitor not in logs:
            raise InputError(
                f"EarlyStopping: there is no {self.monitor!r} in the history, only {', '.join(logs)}; "
                "pass validation_data to fit, or monitor another entry."
            )
        value = -logs[self.monitor] if "accuracy" in self.monitor else logs[self.monitor]
        if value < self.best - self.min_delta:
            self.best, self.waited = value, 0
            if self.restore_best:
                self._best_state = trainer.model.state_dict()
            return False
        self.waited += 1
        return self.waited >= self.patience

    def finish(self, trainer: "Trainer") -> None:
        """Called when the training has ended by itself."""
        if self._best_state:
            trainer.model.load_state_dict(self._best_state)

    def state_dict(self) -> dict[str, HostArray]:
        """What a checkpoint keeps."""
        return {"progress": np.array([self.best, self.waited], np.float64), **self._best_state}

    def load_state_dict(self, state: dict[str, HostArray]) -> None:
        """Take over what `state_dict` gave."""
        arrays = dict(state)
        best, waited = arrays.pop("progress")
        self.best, self.waited, self._best_state = float(best), int(waited), arrays
