"""Overfitting: few rows, a large network, and what weight decay and dropout do about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import optimizers as rules
from .._support import plots as plotting
from .._support.checks import check_count, check_flag, check_number, check_seed
from .._support.plots import COLOURS
from .._support.result import Result, Table
from ..backend import BackendLike, choose
from ..datasets import Data, Dataset, as_splits
from ..errors import InputError, look_up
from ..initializers import Init
from ..model import MLP
from ..ops import HostArray
from ..training import Trainer
from ._learning import Learning, learn
from ._training import ticking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOOKS = 20  # at each training, evenly spaced
_FEWEST = 20  # rows of which an accuracy says something


@dataclass(frozen=True, eq=False, repr=False)
class Overfit(Result):
    """What `overfit` returns: the four trainings."""

    name: ClassVar[str] = "overfit"

    trainings: dict[str, Learning]
    """The trainings by the measure against overfitting: "none", "weight decay", "dropout", "both"."""
    about: str
    """Network, data, optimizer, seed."""

    def summary(self) -> str:
        """Summarise the gaps, and by how much each measure changes them."""
        lines = [
            self.about,
            "means over the last fifth of the epochs, and the gap in percentage points",
            f"{'':<14}{'training':>10}{'validation':>12}  gap",
        ]
        for name, training in self.trainings.items():
            if training.diverged is not None:
                lines.append(f"{name:<14}diverged: {training.diverged.split(',')[0]}")
                continue
            train, validation = training.settled()
            lines.append(f"{name:<14}{train:>10.2%}{validation:>12.2%}  {100 * training.gap:.2f}{self._effect(name)}")
        return "\n".join(lines)

    def _effect(self, name: str) -> str:
        """Compare a measure's gap with that of the training without one, in words."""
        none = self.trainings["none"]
        if name == "none" or none.diverged is not None or none.gap <= 0:
            return ""
        change = self.trainings[name].gap / none.gap - 1
        if round(100 * change) == 0:
            return ", as with none"
        return f", {abs(change):.0%} {'smaller' if change < 0 else 'greater'} than with none"

    def table(self) -> Table:
        """Return one row for every look at each training."""
        return ("against overfitting", "epoch", "accuracy", "val_accuracy"), self._rows()

    def _rows(self) -> Iterator[Sequence[Any]]:
        for name, training in self.trainings.items():
            for row in zip(training.epochs, training.accuracy, training.val_accuracy, strict=True):
                yield name, *row

    def draw(self) -> "Figure":
        title = f"Overfitting: the shaded gap between what is learned and what holds for other rows\n{self.about}"
        figure, grid = plotting.panels(2, 2, title, width=4.6, height=3.2, sharex=True, sharey=True)
        panels = [axes for row in grid for axes in row]
        lowest = min((training.settled()[1] for training in self.trainings.values() if training.accuracy), default=0.9)
        for axes, (name, training) in zip(panels, self.trainings.items(), strict=True):
            epochs = training.epochs
            train, validation = plotting.line(0), plotting.line(1)
            train["marker"] = validation["marker"] = None
            axes.plot(epochs, training.accuracy, label="training", **train)
            axes.plot(epochs, training.val_accuracy, label="validation", **validation)
            axes.fill_between(epochs, training.accuracy, training.val_accuracy, color=COLOURS[1], alpha=0.15, lw=0)
            gap = (
                f"gap {100 * training.gap:.1f} points{self._effect(name)}" if training.diverged is None else "diverged"
            )
            axes.set_title(f"{name}: {gap}")
        panels[0].set_ylim(max(0.0, 1 - 3 * (1 - lowest)), 1.02)
        for axes in grid[1]:
            axes.set_xlabel("epoch")
        for row in grid:
            row[0].set_ylabel("accuracy (share of rows)")
        panels[0].legend(loc="lower right")
        return figure


def overfit(
    data: Data = "digits",
    *,
    rows: int = 300,
    hidden: Sequence[int] = (100, 100, 100),
    activation: str = "relu",
    init: Init = 0.3,
    weight_decay: float = 0.02,
    dropout: float = 0.2,
    optimizer: str = "sgd",
    lr: float | None = None,
    epochs: int = 100,
    batch_size: int = 100,
    seed: int = 0,
    backend: BackendLike = None,
    verbose: bool = True,
) -> Overfit:
    """Train a large network on few rows four times: as it is, with weight decay, with dropout, with both.

    Trained on are the first `rows` rows of the training part; validated on are its other rows and the validation part;
    the test part is not used. The weights and the batches are the same each time. A gap is the training accuracy less
    the validation accuracy, both as the mean over the last fifth of twenty looks at the training.

    Args:
        data: What `nnx.datasets.load` takes, a `Dataset`, `Splits` or a pair (x, t).
        rows: Rows to train on, at least 20.
        hidden: Units of each hidden layer.
        activation: Name of the activation function.
        init: Initial weights: a standard deviation, "he", "xavier", or None for what suits the activation. The default
            is large on purpose: a network with large initial weights can memorise its rows without finding much that
            generalises.
        weight_decay: Weight decay, more than 0.
        dropout: Share of the units that is dropped, more than 0 and less than 1.
        optimizer: Name of the optimizer.
        lr: Learning rate; None for 0.1 with "sgd", else the optimizer's own.
        epochs: Number of epochs of each training.
        batch_size: Rows of a batch.
        seed: Seed of the split, the weights and the batches.
        backend: Name of a backend, or a backend; None for the one in force.
        verbose: Whether to show progress.

    Returns:
        The four trainings.

    Raises:
        InputError: For values out of their range, and for more rows than there are.
        DatasetError: For data that cannot be split.
    """
    rows, epochs, batch_size = (
        check_count("rows", rows, _FEWEST),
        check_count("epochs", epochs),
        check_count("batch_size", batch_size),
    )
    check_number("weight_decay", weight_decay, 0, above=True)
    check_number("dropout", dropout, 0, 1, above=True)
    verbose = check_flag("verbose", verbose)
    rate = 0.1 if lr is None and look_up("optimizer", optimizer, rules.OPTIMIZERS) is rules.SGD else lr

    def trainer(classes: int, decay: float, ratio: float) -> Trainer:
        return Trainer(
            MLP(hidden, classes, activation=activation, init=init, dropout=ratio),
            rules.optimizer(optimizer, **({} if rate is None else {"lr": rate})),
            weight_decay=decay,
            backend=backend,
            seed=seed,
        )

    about = trainer(2, weight_decay, dropout)
    choose(backend)
    splits = as_splits(data, check_seed(seed))
    if rows >= len(splits.train):
        raise InputError(f"rows: got {rows}, expected fewer than the {len(splits.train)} rows of the training part.")
    few = splits.train.take(np.arange(rows))
    others = _joined(splits.train.take(np.arange(rows, len(splits.train))), splits.validation)
    measures = {
        "none": (0.0, 0.0),
        "weight decay": (weight_decay, 0.0),
        "dropout": (0.0, dropout),
        "both": (weight_decay, dropout),
    }
    trainings = {}
    with ticking(epochs * len(measures), verbose=verbose) as tick:
        for name, (decay, ratio) in measures.items():
            own = trainer(len(few.classes), decay, ratio)
            trainings[name] = learn(
                own, few, others, epochs=epochs, batch_size=batch_size, looks=_LOOKS, name=name, tick=tick
            )
    sizes = "-".join(map(str, (int(np.prod(few.x.shape[1:])), *hidden, len(few.classes))))
    return Overfit(
        trainings,
        f"{few.name}: {rows} rows to train on, {len(others)} to validate; seed {seed}\n{sizes}, {activation}, "
        f"{about.optimizer!r}, weight decay {weight_decay:g}, dropout {dropout:g}",
    )


def _joined(first: Dataset, second: Dataset) -> Dataset:
    x: HostArray = np.concatenate([first.x, second.x])
    return Dataset(first.name, x, np.concatenate([first.t, second.t]), first.scale, first.classes)
