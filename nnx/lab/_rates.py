"""One network at several learning rates: too small, good, too large."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .._support import plots as plotting
from .._support.checks import check_count, check_flag, check_list, check_number, check_seed
from .._support.console import shown
from .._support.result import Result, Table
from ..backend import BackendLike
from ..datasets import Data, as_splits
from ..model import MLP, Sequential
from ..optimizers import Optimizer
from ..training import Trainer, check_tells_accuracy
from ._training import Curve, check_parts, own_trainer, ticking, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0)  # of the optimizer's own rate
_CHANCE = 0.05  # above the most frequent class: less is no learning


@dataclass(frozen=True, eq=False, repr=False)
class Rates(Result):
    """What `rates` returns: a training for each learning rate."""

    name: ClassVar[str] = "rates"

    curves: dict[float, Curve]
    """The trainings by learning rate, rising."""
    rows: int
    """The number of validation rows."""
    most: float
    """The share of the most frequent class among them."""
    title: str
    """Data, network and optimizer."""
    about: str
    """Epochs, batches, seed."""

    def settled(self, lr: float) -> float:
        """Return the validation accuracy as the mean over the last fifth of the epochs; 0 if the training diverged."""
        curve = self.curves[lr]
        last = -(-len(curve.val_accuracy) // 5)
        return 0.0 if curve.diverged else float(np.mean(curve.val_accuracy[-last:]))

    @property
    def best(self) -> float:
        """The highest settled validation accuracy."""
        return max(map(self.settled, self.curves))

    @property
    def good(self) -> list[float]:
        """The learning rates within one standard error of the best accuracy; none if even that is near chance."""
        best = self.best
        if best <= self.most + _CHANCE:
            return []
        least = best - (best * (1 - best) / self.rows) ** 0.5
        return [lr for lr in self.curves if self.settled(lr) >= least]

    def verdict(self, lr: float) -> str:
        """Return what a learning rate is: "good", "too small", "too large", "worse" between good ones, or "no good"."""
        good = self.good
        end = ", diverges" if self.curves[lr].diverged else ""
        if lr in good:
            return "good"
        if not good:
            return f"no good{end}"
        return ("too small" if lr < good[0] else "too large" if lr > good[-1] else "worse") + end

    def summary(self) -> str:
        """Summarise the end of each training, and which rates are good."""
        lines = [self.title, self.about, f"{'lr':>10}{'loss':>11}{'val. acc.':>11}"]
        for lr, curve in self.curves.items():
            loss, accuracy = (f"{shown(curve.loss[-1])}", f"{self.settled(lr):.4f}") if not curve.diverged else ("", "")
            lines.append(f"{lr:>10.3g}{loss:>11}{accuracy:>11}  {self.verdict(lr)}")
        return "\n".join([*lines, self._advice()])

    def _advice(self) -> str:
        good, tried = self.good, list(self.curves)
        if not good:
            return f"none learns: always giving the most frequent class has {self.most:.4f}; try others"
        names = " and ".join(f"{lr:.3g}" for lr in good)
        words = f"good: {names}, within one standard error of the best accuracy, {self.best:.4f}"
        beyond = [f"{side} ones" for side, lr in (("smaller", tried[0]), ("greater", tried[-1])) if lr in good]
        return words + (f"; try {' and '.join(beyond)}, too" if beyond else "")

    def table(self) -> Table:
        """Return one row for every epoch of every training."""
        rows = [
            (lr, epoch, loss, accuracy, self.verdict(lr))
            for lr, curve in self.curves.items()
            for epoch, (loss, accuracy) in enumerate(zip(curve.loss, curve.val_accuracy, strict=True), 1)
        ]
        return ("learning_rate", "epoch", "loss", "val_accuracy", "verdict"), rows

    def draw(self) -> "Figure":
        title = textwrap.fill(textwrap.shorten(f"Learning rates: {self.title}", 180, placeholder=" …"), 110)
        figure, ((left, right),) = plotting.panels(1, 2, f"{title}\n{self.about}", width=5.4, height=4.0)
        for i, (lr, curve) in enumerate(self.curves.items()):
            epochs = range(1, len(curve.loss) + 1)
            look: dict[str, Any] = {**plotting.line(i), "markevery": max(1, len(curve.loss) // 10)}
            look["linewidth"] = 2.4 if lr in self.good else 1.2
            left.plot(epochs, curve.loss, label=f"{lr:.3g}: {self.verdict(lr)}", **look)
            right.plot(epochs, curve.val_accuracy, **look)
        losses = [loss for curve in self.curves.values() for loss in curve.loss]
        if losses and min(losses) > 0:
            left.set_yscale("log")
            first = min(curve.loss[0] for curve in self.curves.values() if curve.loss)
            left.set_ylim(top=min(left.get_ylim()[1], 1e3 * first))  # one that explodes would flatten all others
        left.set(title="training", xlabel="epoch", ylabel="loss (mean per row)")
        right.set(title="validation", xlabel="epoch", ylabel="accuracy (share of rows)", ylim=(0, 1.02))
        right.axhline(self.most, color=plotting.FAINT, linestyle=":", linewidth=1)
        place: dict[str, Any] = {"transform": right.get_yaxis_transform(), "ha": "right", "va": "bottom"}
        right.text(0.99, self.most, "the most frequent class alone", fontsize=7, color=plotting.FAINT, **place)
        for axes in (left, right):
            axes.locator_params(axis="x", integer=True)
        figure.legend(loc="outside right upper", title="learning rate", title_fontsize=8)
        return figure


def rates(
    data: Data = "digits",
    model: "Sequential | Trainer | None" = None,
    optimizer: "Optimizer | str | None" = None,
    *,
    lrs: "Sequence[float] | None" = None,
    epochs: int = 20,
    batch_size: int = 32,
    weight_decay: float = 0.0,
    seed: int = 0,
    backend: BackendLike = None,
    verbose: bool = True,
) -> Rates:
    """Train one network at several learning rates, from the same weights on the same batches.

    Good is a rate whose validation accuracy, the mean over the last fifth of the epochs, is within one standard error,
    sqrt(a (1 - a) / rows), of the best one a. Smaller rates than the good ones are too small, greater ones too large.
    If the best is at most 0.05 above the share of the most frequent class, none is good. A training that diverges is a
    result. The test part is not used.

    Args:
        data: What `nnx.datasets.load` takes, a `Dataset`, `Splits` or a pair (x, t).
        model: A `Sequential` or a `Trainer`; None for `MLP((200, 100), classes)`. It is copied, with its parameters,
            and left as it is. A trainer brings optimizer, loss, weight decay, clipping, precision and seed of its own.
        optimizer: An optimizer or its name; None for the trainer's, else `Adam()`.
        lrs: Learning rates, constant in each training; None for the optimizer's own times 0.01, 0.1, 1, 10 and 100.
        epochs: Number of epochs of each training.
        batch_size: Rows of a batch.
        weight_decay: Weight decay; 0 for the trainer's own, if there is a trainer.
        seed: Seed of the split, the weights and the batches.
        backend: Name of a backend, or a backend; None for the trainer's or the built model's own, else the one in
            force.
        verbose: Whether to show progress.

    Returns:
        A training for each learning rate.

    Raises:
        InputError: For values out of their range, and for a trainer whose loss is of numbers.
        InputTypeError: For a model or an optimizer of another type.
        DatasetError: For data that cannot be split.
    """
    if lrs is not None:
        lrs = [check_number("lrs", lr, 0, above=True) for lr in check_list("lrs", lrs, "[0.001, 0.01]")]
    epochs, batch_size = check_count("epochs", epochs), check_count("batch_size", batch_size)
    verbose = check_flag("verbose", verbose)
    optimizer = check_parts(model, optimizer)
    check_number("weight_decay", weight_decay, 0)
    if isinstance(model, Trainer):
        check_tells_accuracy(model.loss)
    splits = as_splits(data, check_seed(seed))
    shape = splits.train.x.shape[1:]
    network = MLP((200, 100), len(splits.train.classes)) if model is None else model

    def trainer() -> Trainer:
        return own_trainer(network, optimizer, weight_decay, backend, seed, shape)

    own = trainer().optimizer
    if lrs is None:
        lrs = [float(f"{factor * own.rate(0):.3g}") for factor in _FACTORS]
    curves = {}
    with ticking(epochs * len(lrs), verbose=verbose) as tick:
        for lr in sorted(set(lrs)):
            each = trainer()
            each.optimizer.lr = lr
            curves[lr] = train(each, splits, epochs=epochs, batch_size=batch_size, name=f"lr {lr:g}", tick=tick)
    counts = np.unique(splits.validation.t, return_counts=True)[1]
    layers = network.model if isinstance(network, Trainer) else network
    return Rates(
        curves,
        len(splits.validation),
        float(counts.max() / counts.sum()),
        f"{splits.train.name}, {layers!r}, {type(own).__name__}",
        f"{epochs} epochs, batches of {batch_size}, seed {seed}",
    )
