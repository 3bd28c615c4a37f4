"""One trial: a short training whose score is seen on the validation part alone."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..backend import use_backend
from ..errors import DivergedError
from ..training import History, RunConfig, Trainer
from ._data import SearchData
from ._settings import Build, Settings, WrongBuild, trainer_for
from ._space import Choice, Range, Value, label

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

RECORD = "record"
"""The attribute of an Optuna trial that holds what its state and value do not."""


@dataclass(frozen=True)
class Trial:
    """A finished trial."""

    number: int
    """The trial's number, from 1, over all rounds."""
    round: int
    """The number of its round, from 1."""
    params: dict[str, Value]
    """The values of all parameters, searched and fixed."""
    state: str
    """"complete", "pruned" (stopped early as hopeless) or "failed"."""
    score: float | None
    """The metric after the last epoch, a loss without weight decay's penalty; None if the trial failed."""
    loss: float | None
    """The validation loss without weight decay's penalty, which decides between equal accuracies; None if it failed."""
    history: History
    """The history, as `Trainer.fit` returns it."""
    reason: str | None
    """Why it failed or was pruned; None if it is complete."""
    seconds: float
    backend: str | None
    """Name of the backend that trained it; None if it failed before that."""


@dataclass(frozen=True)
class Outcome:
    """The result of a training, as `Trial` has it."""

    state: str
    score: float | None
    loss: float | None
    history: History
    reason: str | None
    seconds: float
    backend: str | None

    def record(self) -> dict[str, Any]:
        """Return what a study stores beside state and score."""
        names = ("loss", "history", "reason", "seconds", "backend")
        return {name: getattr(self, name) for name in names}


class Interrupted(Exception):  # noqa: N818  it is no error
    """Ctrl-C ended a training."""


def run_trial(
    settings: Settings,
    params: dict[str, Value],
    data: SearchData,
    build: Build | None,
    backend: str | None,
    report: Callable[[int, float], bool] = lambda epoch, score: False,
    epochs: int | None = None,
) -> tuple[Outcome, Trainer | None]:
    """Train once with these parameters.

    An exception from one trial is its outcome; only `WrongBuild`, which every trial would meet, is raised.

    Args:
        settings: The search's settings.
        params: The values of all parameters, searched and fixed.
        data: The data of the search.
        build: The function that the search was run with, if any.
        backend: Name of the backend to train on; None for the one in force.
        report: Called after each epoch with the epoch and the score; returns whether the trial is hopeless.
        epochs: Number of epochs; None for that of the settings.

    Returns:
        The outcome, and the trainer; None in its place if the trial failed before there was one.

    Raises:
        Interrupted: If Ctrl-C ended the training.
    """
    began = time.perf_counter()
    watch = _Watch(settings.metric, report)
    trainer: Trainer | None = None
    state, reason = "complete", None
    try:
        with nullcontext() if backend is None else use_backend(backend):
            trainer = trainer_for(settings, params, data, build, backend)
            batch_size: Any = params.get("batch_size", RunConfig.batch_size)
            data.fit(trainer, settings.epochs if epochs is None else epochs, batch_size, watch)
    except DivergedError as error:
        state, reason = "failed", f"diverged: {error}"
    except WrongBuild:
        raise
    except Exception as error:
        state, reason = "failed", f"{type(error).__name__}: {error}"
    if trainer is not None and trainer.interrupted:
        raise Interrupted
    if trainer is None or state == "failed":
        pass
    elif not math.isfinite(watch.score):
        state, reason = "failed", f"diverged: its validation score became {watch.score}"
    elif watch.hopeless:
        epochs = len(trainer.history["val_loss"])
        state, reason = "pruned", f"after {epochs} epochs worse than the median of this round's trials"
    failed = state == "failed"
    outcome = Outcome(
        state=state,
        score=None if failed else watch.score,
        loss=None if failed else watch.loss,
        history={} if trainer is None else trainer.history,
        reason=reason,
        seconds=time.perf_counter() - began,
        backend=trainer.model.backend.name if trainer is not None and trainer.model.built else None,
    )
    return outcome, trainer


class _Watch:
    """A callback that keeps the score of the last epoch, and stops a hopeless trial."""

    def __init__(self, metric: str, report: Callable[[int, float], bool]) -> None:
        self.metric, self.report = metric, report
        self.score = self.loss = math.nan
        self.hopeless = False

    def __call__(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> bool:
        self.loss = logs["val_loss"]
        self.score = logs["val_accuracy"] if self.metric == "val_accuracy" else self.loss
        self.hopeless = math.isfinite(self.score) and self.report(epoch, self.score)
        return self.hopeless


def from_optuna(
    frozen: "FrozenTrial", number: int, of_round: int, ranges: "dict[str, Range]", fixed: dict[str, Value]
) -> Trial:
    """Return a finished trial of Optuna's as a `Trial`; `ranges` are those of its round."""
    record = frozen.user_attrs[RECORD]
    state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}[frozen.state.name]
    params = {name: _value(ranges[name], frozen.params[name]) for name in ranges}
    return Trial(number, of_round, {**params, **fixed}, state, frozen.value, **record)


def _value(span: Range, stored: Any) -> Value:
    if not isinstance(span, Choice):
        return stored  # type: ignore[no-any-return]
    return next(value for value in span.values if label(value) == stored)


def ranked(trials: Iterable[Trial], metric: str) -> list[Trial]:
    """Return the complete trials, the best first: by the score, then the loss, then the number."""
    sign = -1 if "accuracy" in metric else 1

    def key(trial: Trial) -> tuple[float, float, int]:
        assert trial.score is not None
        assert trial.loss is not None
        return sign * trial.score, trial.loss, trial.number

    return sorted((trial for trial in trials if trial.state == "complete"), key=key)
