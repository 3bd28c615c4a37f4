"""The trainings that an experiment compares: one bar for all of them, and a divergence as a result like any other."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from .._support.console import in_notebook
from ..datasets import Dataset, Splits
from ..errors import DivergedError
from ..training import Trainer

Tick: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Curve:
    """One training: an entry for each epoch, fewer if it diverged."""

    loss: tuple[float, ...]
    """Mean loss over the epoch's rows."""
    val_accuracy: tuple[float, ...]
    """Share of the validation rows that are right after the epoch."""
    diverged: str | None
    """Where the loss became NaN or infinite, if it did."""


@contextmanager
def ticking(epochs: int, *, verbose: bool) -> Iterator[Tick]:
    """Show progress while the block runs; yield a function to call with a training's name after each of its epochs.

    In a terminal it moves a bar; in a notebook one line names the training; elsewhere there is a line for each on
    standard error, apart from the results.
    """
    if verbose and in_notebook():
        yield lambda name: print(f"\r{f'training: {name}':<60}", end="", flush=True)
        print("\r" + " " * 60, end="\r")
        return
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
    """Fit the trainer, without a pass over the training data for their accuracy. Ctrl-C ends the whole experiment.

    Args:
        trainer: The trainer.
        train: The training data.
        name: The training's name, for `tick`.
        tick: The function that `ticking` yields.
        look: Called with each epoch's number.
        **settings: Arguments of `Trainer.fit`.

    Returns:
        Where the training diverged, in words; None if it did not.
    """

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
    """Fit the trainer, and return its curve on the training and validation parts."""
    validation = splits.validation
    diverged = fit(trainer, splits.train, name, tick, epochs=epochs, batch_size=batch_size, validation_data=validation)
    history = trainer.history
    return Curve(tuple(history.get("loss", ())), tuple(history.get("val_accuracy", ())), diverged)
