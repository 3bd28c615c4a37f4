"""The trainings that an experiment compares: one bar for all of them, and a divergence as a result among others."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..datasets import Splits
from ..errors import DivergedError
from ..trainer import Trainer

Tick: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Curve:
    """One training: an entry an epoch, fewer if it diverged."""

    loss: tuple[float, ...]
    """Mean over the epoch's steps."""
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


def train(trainer: Trainer, splits: Splits, *, epochs: int, batch_size: int, name: str, tick: Tick) -> Curve:
    """Fit the trainer, without a pass over the training data for their accuracy. Ctrl-C ends the whole experiment."""
    diverged = None

    def told(trainer: Trainer, epoch: int, logs: dict[str, float]) -> Any:
        tick(name)

    try:
        trainer.fit(
            splits.train,
            epochs=epochs,
            batch_size=batch_size,
            validation_data=splits.validation,
            train_accuracy=False,
            callbacks=[told],
            verbose=False,
        )
    except DivergedError as error:
        diverged = str(error)
        tick(name)
    if trainer.interrupted:
        raise KeyboardInterrupt
    history = trainer.history
    return Curve(tuple(history.get("loss", ())), tuple(history.get("val_accuracy", ())), diverged)
