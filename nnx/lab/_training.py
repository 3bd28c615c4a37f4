"""The trainings that an experiment compares: one bar for all of them, and a divergence as a result like any other."""

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from .. import optimizers
from .._support.console import in_notebook
from ..backend import BackendLike
from ..datasets import Dataset, Splits
from ..errors import DivergedError, InputTypeError
from ..losses import Loss
from ..model import Sequential
from ..optimizers import Optimizer
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
        from IPython.display import display

        shown = display({"text/plain": ""}, raw=True, display_id=True)
        yield lambda name: shown.update({"text/plain": f"training: {name}"}, raw=True)
        shown.update({"text/plain": ""}, raw=True)
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


def check_parts(model: Any, optimizer: Any) -> Optimizer | None:
    """Check a network or a trainer, and an optimizer or its name, of which each may be None; return the optimizer."""
    if model is not None and not isinstance(model, Sequential | Trainer):
        raise InputTypeError(f"model: got {model!r}, expected an nnx.Sequential or an nnx.Trainer.")
    if isinstance(optimizer, str):
        return optimizers.optimizer(optimizer)
    if optimizer is None or isinstance(optimizer, Optimizer):
        return optimizer
    raise InputTypeError(f"optimizer: got {optimizer!r}, expected a name or an nnx.Optimizer.")


def own_trainer(
    model: "Sequential | Trainer",
    optimizer: Optimizer | None,
    decay: float,
    backend: BackendLike,
    seed: int,
    input_shape: tuple[int, ...],
) -> Trainer:
    """Return a trainer on a built copy of the model, with the settings of the trainer that was given, if one was."""
    network = model.model if isinstance(model, Trainer) else model
    loss: Loss | None = None
    clip_norm, precision, dtype = None, "float32", None
    if isinstance(model, Trainer):
        optimizer = model.optimizer if optimizer is None else optimizer
        loss, clip_norm, precision, dtype = model.loss, model.clip_norm, model.precision, model.dtype
        decay, seed = decay or model.weight_decay, model.seed
        backend = model.backend if backend is None else backend
    if network.built:
        backend, dtype = network.backend if backend is None else backend, network.dtype
        own = network.unbuilt()
    else:
        own = copy.deepcopy(network)
    trainer = Trainer(
        own,
        optimizers.Adam() if optimizer is None else copy.copy(optimizer),
        loss,
        weight_decay=decay,
        clip_norm=clip_norm,
        backend=backend,
        seed=seed,
        dtype=dtype,
        precision=precision,
    )
    trainer.build(network.input_shape if network.built else input_shape)
    if network.built:
        own.load_state_dict(network.state_dict())
    return trainer
