"""The trainings that an experiment compares: one bar for all of them, and a divergence as a result among others."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..datasets import Dataset, Splits
from ..errors import DivergedError
from ..training import Trainer

Tick: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Curve:
    """One training: an entry an epoch, fewer if it diverged."""

    loss: tuple[float, ...]
    """Mean over the epoch's rows."""
    val_accuracy: tuple[float, ...]
    """Share of the validation rows, after the epoch."""
    diverged: str | None
    """Where the loss became NaN or infinite, if it did."""


@contextmanager
def ticking(epochs: int, *, verbose: bool) -> Iterator[Tick]:
    """A function to be told the name of the training that has finished an epoch.

    It moves a bar in a terminal; elsewhere it writes a line a training to standard error, beside the results.
    """
    if not (verbose and sys.stdout.isatty()):
        begun: set[str] = set()

        def line(name: str) -> None:
            if verbose and name not in begun:
                begun.add(name)
                print(f"training: {name}", file=sys.stderr, flush=True)

        yield line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"))
    with Progress(*columns, TimeRemainingColumn(), transient=True) as bar:
        task = bar.add_task("", total=epochs)
        yield lambda name: bar.update(task, advance=1, description=name)


def fit(
    trainer: Trainer,
    train: Dataset,
    name: str,
    tick: Tick,
    look: Callable[[int], Any] = lambda epoch: None,
    **settings: Any,
) -> str | None:
    """Fit the trainer, without a pass over the training data for their accuracy; where it diverged, if it did. Ctrl-C
    ends the whole experiment. look: called with each epoch's number. settings: as for `Trainer.fit`."""

    def told(trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        tick(name)
        look(epoch)

    diverged = None
    try:
        trainer.fit(train, train_accuracy=False, callbacks=[told], verbose=False, **settings)
    except DivergedError as error:
        diverged = str(error)
        tick(name)
    if trainer.interrupted:
        raise KeyboardInterrupt
    return diverged


def train(trainer: Trainer, splits: Splits, *, epochs: int, batch_size: int, name: str, tick: Tick) -> Curve:
    """The trainer's curve on the training and validation parts."""
    validation = splits.validation
    diverged = fit(trainer, splits.train, name, tick, epochs=epochs, batch_size=batch_size, validation_data=validation)
    history = trainer.history
    return Curve(tuple(history.get("loss", ())), tuple(history.get("val_accuracy", ())), diverged)
