"""Batch normalization: with it and without, over initial weights and learning rates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import optimizers as rules
from .._support import plots as plotting
from .._support.checks import check_count, check_flag, check_list, check_number, check_seed
from .._support.plots import COLOURS, FAINT
from .._support.result import Result, Table
from ..backend import BackendLike, choose
from ..datasets import Data, as_splits
from ..errors import InputError
from ..model import MLP
from ..training import Trainer
from ._learning import Learning, learn
from ._training import ticking

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = tuple[bool, float, float]
"""Whether there is batch normalization, the standard deviation of the initial weights, the learning rate."""

_LOOKS = 10  # at each training, evenly spaced
_NAMES = {False: "without", True: "with"}


@dataclass(frozen=True, eq=False, repr=False)
class BatchNormalization(Result):
    """What `batchnorm` returns: the trainings of a grid of initial weights and learning rates."""

    name: ClassVar[str] = "batchnorm"

    trainings: dict[Place, Learning]
    """The trainings by (normalised, standard deviation, learning rate)."""
    stds: tuple[float, ...]
    lrs: tuple[float, ...]
    learned: float
    """The training accuracy from which a network counts as having learned."""
    about: str
    """Network, data, optimizer, seed."""

    def learns(self, normalised: bool, std: float, lr: float) -> bool:
        """Return whether that training reached the accuracy `learned` at its end."""
        return self.trainings[normalised, std, lr].final >= self.learned

    def greatest_lr(self, normalised: bool, std: float) -> float | None:
        """Return the greatest learning rate of the grid at which a network with these weights still learns, or None."""
        return max((lr for lr in self.lrs if self.learns(normalised, std, lr)), default=None)

    def best(self, normalised: bool) -> Place | None:
        """Return the place with the highest settled validation accuracy; None if every training diverged."""
        places = [place for place, training in self.trainings.items() if place[0] == normalised]
        whole = [place for place in places if self.trainings[place].diverged is None]
        return max(whole, key=lambda place: self.trainings[place].settled()[1], default=None)

    def mean_gap(self, normalised: bool) -> float | None:
        """Return the mean gap over the places where both networks learned; None if there are none."""
        both = [(std, lr) for std in self.stds for lr in self.lrs if all(self.learns(n, std, lr) for n in _NAMES)]
        return float(np.mean([self.trainings[normalised, *place].gap for place in both])) if both else None

    def summary(self) -> str:
        """Summarise the greatest learning rates, how much of the grid learns, and the gaps."""
        lines = [
            self.about,
            f"greatest learning rate that still learns (training accuracy of at least {self.learned:g}):",
            f"{'initial std':>13}{'without':>10}{'with':>10}",
        ]
        for std in self.stds:
            rates = (self.greatest_lr(normalised, std) for normalised in _NAMES)
            lines.append(f"{std:>13g}" + "".join(f"{'none' if lr is None else f'{lr:g}':>10}" for lr in rates))
        for normalised, name in _NAMES.items():
            count = self._places_learned(normalised)
            gap = self.mean_gap(normalised)
            text = f"{name}: learns in {count} of {len(self.stds) * len(self.lrs)} places of the grid"
            if gap is not None:
                text += f"; where both learn, the gap from training to validation is {100 * gap:.2f} points"
            lines.append(f"{text}{self._of_best(normalised)}")
        return "\n".join(lines)

    def _places_learned(self, normalised: bool) -> int:
        return sum(self.learns(normalised, std, lr) for std in self.stds for lr in self.lrs)

    def _of_best(self, normalised: bool) -> str:
        place = self.best(normalised)
        if place is None:
            return ""
        training = self.trainings[place]
        return (
            f"; best validation accuracy {training.settled()[1]:.2%}, at std {place[1]:g} and lr {place[2]:g} "
            f"(gap {100 * training.gap:.2f})"
        )

    def table(self) -> Table:
        """Return one row for every look at each training; one that diverged ends with a row without accuracies."""
        columns = ("batch normalization", "initial std", "lr", "epoch", "accuracy", "val_accuracy", "diverged")
        return columns, self._rows()

    def _rows(self) -> Iterator[Sequence[Any]]:
        for (normalised, std, lr), training in self.trainings.items():
            diverged = training.diverged is not None
            for row in zip(training.epochs, training.accuracy, training.val_accuracy, strict=True):
                yield _NAMES[normalised], std, lr, *row, diverged
            if diverged:
                yield _NAMES[normalised], std, lr, "", "", "", diverged

    def draw(self) -> "Figure":
        from matplotlib.ticker import MaxNLocator

        width, height = max(4.4, 1.2 + 0.62 * len(self.lrs)), max(3.6, 1.6 + 0.46 * len(self.stds))
        without, with_it = (self._places_learned(normalised) for normalised in _NAMES)
        places = len(self.stds) * len(self.lrs)
        title = f"Without batch normalization {without} of {places} trainings learn, with it {with_it}\n{self.about}"
        figure, ((left, middle, right),) = plotting.panels(1, 3, title, width=width, height=height)
        self._draw_grid(left, False)
        self._draw_grid(middle, True)
        for normalised, name in _NAMES.items():
            place = self.best(normalised)
            if place is None:
                continue
            training, style = self.trainings[place], plotting.line(int(normalised))
            epochs = training.epochs
            shared = {"color": style["color"], "marker": style["marker"], "markersize": 3, "linewidth": 1.2}
            label = f"{name}: std {place[1]:g}, lr {place[2]:g}, gap {100 * training.gap:.1f} points"
            right.plot(epochs, training.accuracy, "-", label=label, **shared)
            right.plot(epochs, training.val_accuracy, "--", markerfacecolor="none", **shared)
        right.set_title("the best of each: training (solid), validation (dashed)")
        right.set_xlabel("epoch")
        right.xaxis.set_major_locator(MaxNLocator(integer=True))
        right.set_ylabel("accuracy (share of rows)")
        right.set_ylim(None, 1.01)
        right.legend(loc="lower right")
        return figure

    def _draw_grid(self, axes: "Axes", normalised: bool) -> None:
        """Draw the training accuracies at the end as a map: blue where the network learned."""
        from matplotlib.colors import to_rgb

        cells = np.zeros((len(self.stds), len(self.lrs), 4))
        for i, std in enumerate(self.stds):
            for j, lr in enumerate(self.lrs):
                training = self.trainings[normalised, std, lr]
                learned = self.learns(normalised, std, lr)
                # Colour over what is below: the sheet may be dark.
                cells[i, j] = (*to_rgb(COLOURS[0]), 0.55) if learned else (*to_rgb(FAINT), 0.3 * training.final)
                text = "div." if training.diverged is not None else f"{training.final:.2f}"
                weight = "bold" if learned else "normal"
                axes.text(j, i, text, ha="center", va="center", fontsize=8, weight=weight)
        axes.imshow(cells, aspect="auto")
        axes.set_xticks(range(len(self.lrs)), [f"{lr:g}" for lr in self.lrs])
        axes.set_yticks(range(len(self.stds)), [f"{std:g}" for std in self.stds])
        axes.set_xlabel("learning rate")
        axes.set_ylabel("standard deviation of the initial weights")
        axes.set_title(f"{_NAMES[normalised]}: training accuracy at the end (bold: learned)")
        axes.grid(visible=False)


def batchnorm(
    data: Data = "digits",
    *,
    stds: Sequence[float] = (0.001, 0.01, 0.1, 0.3, 1.0),
    lrs: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    hidden: Sequence[int] = (100, 100, 100, 100, 100),
    activation: str = "relu",
    optimizer: str = "sgd",
    learned: float = 0.75,
    epochs: int = 30,
    batch_size: int = 100,
    seed: int = 0,
    backend: BackendLike = None,
    verbose: bool = True,
) -> BatchNormalization:
    """Train the same network with and without batch normalization (Ioffe & Szegedy 2015) over a grid.

    The grid has every pair of a standard deviation of the hidden layers' initial weights and a learning rate. A
    training that diverges is a result, too. The gap is training less validation accuracy, both as the mean over the
    last fifth of ten looks at the training. The test part is not used.

    Args:
        data: What `nnx.datasets.load` takes, a `Dataset`, `Splits` or a pair (x, t).
        stds: Standard deviations of the initial weights, 0 or more.
        lrs: Learning rates, more than 0.
        hidden: Units of each hidden layer.
        activation: Name of the activation function.
        optimizer: Name of the optimizer.
        learned: Accuracy on the training part, at the end, from which a network counts as having learned; at most 1.
        epochs: Number of epochs of each training.
        batch_size: Rows of a batch, at least 2.
        seed: Seed of the split, the weights and the batches.
        backend: Name of a backend, or a backend; None for the one in force.
        verbose: Whether to show progress.

    Returns:
        The trainings, by place in the grid.

    Raises:
        InputError: For values out of their range.
        DatasetError: For data that cannot be split.
    """
    stds = _grid("stds", stds, above=False)
    lrs = _grid("lrs", lrs, above=True)
    learned = check_number("learned", learned, 0, above=True)
    if learned > 1:
        raise InputError(f"learned: got {learned}, expected an accuracy of at most 1.")
    epochs, batch_size = check_count("epochs", epochs), check_count("batch_size", batch_size, 2)
    verbose = check_flag("verbose", verbose)

    def trainer(classes: int, place: Place) -> Trainer:
        normalised, std, lr = place
        model = MLP(hidden, classes, activation=activation, init=std, batch_norm=normalised)
        return Trainer(model, rules.optimizer(optimizer, lr=lr), backend=backend, seed=seed)

    rule = type(trainer(2, (True, stds[0], lrs[0])).optimizer).__name__
    choose(backend)
    splits = as_splits(data, check_seed(seed))
    train, validation = splits.train, splits.validation
    places = [(normalised, std, lr) for normalised in _NAMES for std in stds for lr in lrs]
    trainings = {}
    with ticking(epochs * len(places), verbose=verbose) as tick:
        for place in places:
            name = f"{_NAMES[place[0]]}, std {place[1]:g}, lr {place[2]:g}"
            own = trainer(len(train.classes), place)
            trainings[place] = learn(
                own, train, validation, epochs=epochs, batch_size=batch_size, looks=_LOOKS, name=name, tick=tick
            )
    sizes = "-".join(map(str, (int(np.prod(train.x.shape[1:])), *hidden, len(train.classes))))
    about = f"{train.name}: {sizes}, {activation}, {rule}, {epochs} epochs, batches of {batch_size}, seed {seed}"
    return BatchNormalization(trainings, stds, lrs, learned, about)


def _grid(name: str, values: Any, *, above: bool) -> tuple[float, ...]:
    """Return the different numbers in `values`, rising."""
    given = check_list(name, values, "(0.01, 0.1)")
    return tuple(sorted({check_number(name, value, 0, above=above) for value in given}))
