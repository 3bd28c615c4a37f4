"""The learning-rate range test: the rate grows from step to step until the loss diverges."""

import itertools
import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .._support import plots as plotting
from .._support.checks import check_count, check_flag, check_number, check_seed
from .._support.plots import COLOURS, FAINT, PAPER
from .._support.result import Result, Table
from ..backend import BackendLike
from ..datasets import Data, as_splits
from ..errors import InputError
from ..model import MLP, Sequential
from ..ops import HostArray
from ..optimizers import Optimizer
from ..training import DeviceData, Order, Trainer
from ._training import check_parts, own_trainer, ticking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RECENT = 5  # steps over whose mean loss a divergence is decided
_DIVERGED = 4.0  # a mean of so many times the least such mean is a divergence
_FALL = 0.1  # a fall by less than this share of the first loss is no learning


@dataclass(frozen=True, eq=False, repr=False)
class LearningRates(Result):
    """What `lr_find` returns; its arrays are (k,) float64, one entry for each step."""

    name: ClassVar[str] = "lr-find"

    title: str
    """Data, network and optimizer."""
    lr: HostArray
    loss: HostArray
    """Loss of each step's batch before its update, weight decay's penalty included."""
    smoothed: HostArray
    """The loss averaged over the neighbouring learning rates."""
    suggestion: float | None
    """Where the smoothed loss falls fastest per decade; None where it does not fall."""
    lowest: float
    """The learning rate at which the smoothed loss is least."""
    diverged: bool
    """Whether the loss rose out of bounds before the end of the range."""

    def summary(self) -> str:
        """Summarise the suggestion and what it rests on."""
        span = f"{len(self.lr)} steps from lr = {self.lr[0]:.3g} to {self.lr[-1]:.3g}"
        end = "where the loss diverged" if self.diverged else "the end of the range: the loss never diverged"
        lines = [f"{self.title}: {span}, {end}"]
        if self.suggestion is None:
            first, least = self.smoothed[0], self.smoothed.min()
            lines.append(
                f"no suggestion: the loss fell from {first:.3g} to {least:.3g} only; try more steps, or another range"
            )
        else:
            lines.append(
                f"suggestion: lr = {self.suggestion:.2g}, where the loss falls fastest; it is least at "
                f"{self.lowest:.2g}, near the greatest rate that still learns"
            )
        return "\n".join(lines)

    def table(self) -> Table:
        """Return one row for each step."""
        rows = zip(self.lr.tolist(), self.loss.tolist(), self.smoothed.tolist(), strict=True)
        return ("step", "lr", "loss", "smoothed"), ([step, *row] for step, row in enumerate(rows, 1))

    def draw(self) -> "Figure":
        title = textwrap.fill(textwrap.shorten(f"Learning-rate range test: {self.title}", 180, placeholder=" …"), 95)
        figure, ((axes,),) = plotting.panels(1, 1, title, width=7.2, height=4.4)
        axes.plot(self.lr, self.loss, ".", color=FAINT, markersize=3, label="loss of one batch")
        axes.plot(self.lr, self.smoothed, color=COLOURS[0], linewidth=2, label="smoothed")
        top, bottom = self.smoothed[0] * 1.35, min(self.smoothed.min(), self.smoothed[0]) * 0.8
        least = float(self.smoothed.min())
        axes.plot(self.lowest, least, "s", color=COLOURS[1], markersize=7, label=f"least loss: lr = {self.lowest:.2g}")
        if self.suggestion is not None:
            at = float(np.interp(math.log(self.suggestion), np.log(self.lr), self.smoothed))
            label = f"suggestion: lr = {self.suggestion:.2g} (steepest fall)"
            axes.plot(self.suggestion, at, "o", color=COLOURS[2], markersize=9, label=label)
            axes.axvline(self.suggestion, color=COLOURS[2], linestyle="--", linewidth=1)
        if self.diverged:
            axes.margins(x=0.15)
            axes.set_xscale("log")
            end = axes.get_xlim()[1]
            axes.set_xlim(right=end)
            axes.axvspan(self.lowest, end, facecolor="none", edgecolor=FAINT, hatch="///", alpha=0.5)
            middle = math.sqrt(self.lowest * end)
            axes.text(middle, top * 0.97, "too large", ha="center", va="top", fontsize=9, backgroundcolor=PAPER)
        axes.set_xscale("log")
        axes.set_ylim(bottom, top)
        axes.set_xlabel("learning rate (logarithmic, growing from step to step)")
        axes.set_ylabel("training loss (mean per row)")
        axes.legend(loc="lower left")
        return figure


def lr_find(
    data: Data = "digits",
    model: "Sequential | Trainer | None" = None,
    optimizer: "Optimizer | str | None" = None,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 200,
    smoothing: float = 0.15,
    batch_size: int = 32,
    weight_decay: float = 0.0,
    backend: BackendLike = None,
    seed: int = 0,
    verbose: bool = True,
) -> LearningRates:
    """Run the learning-rate range test (Smith 2017, "Cyclical learning rates for training neural networks").

    It makes `steps` updates, each on the next batch of the training part, at learning rates that grow geometrically
    from `lowest` to `highest`. It ends early when the loss is not finite, or when the mean of its last five values
    exceeds four times the least such mean. The losses are then averaged with Gaussian weights over log10(lr). The
    suggestion is the learning rate at which that average falls fastest per decade, up to its minimum; None if the
    average does not fall by a tenth.

    Args:
        data: What `nnx.datasets.load` takes, a `Dataset`, `Splits` or a pair (x, t).
        model: A `Sequential` or a `Trainer`; None for `MLP((200, 100), classes)`. It is copied, with its parameters,
            and left as it is. A trainer brings optimizer, loss, weight decay, clipping, precision and seed of its own.
        optimizer: An optimizer or its name, whose own learning rate is not used; None for the trainer's, else `Adam()`.
        lowest: The first learning rate, more than 0.
        highest: The last learning rate, more than `lowest`.
        steps: Number of updates, at least 10.
        smoothing: Standard deviation of the Gaussian weights, in decades.
        batch_size: Rows of a batch.
        weight_decay: Weight decay; 0 for the trainer's own, if there is a trainer.
        backend: Name of a backend, or a backend; None for the trainer's or the built model's own, else the one in
            force.
        seed: Seed of the split, the weights and the batches.
        verbose: Whether to show progress.

    Returns:
        Learning rates and losses of the steps, and the suggestion.

    Raises:
        InputError: For values out of their range, and if the loss diverges within five steps.
        InputTypeError: For a model or an optimizer of another type.
        DatasetError: For data that cannot be split.
    """
    lowest = check_number("lowest", lowest, 0, above=True)
    highest = check_number("highest", highest, 0, above=True)
    if highest <= lowest:
        raise InputError(f"highest: got {highest}, expected more than lowest, {lowest}.")
    steps, batch_size = check_count("steps", steps, 10), check_count("batch_size", batch_size)
    smoothing, verbose = check_number("smoothing", smoothing, 0, above=True), check_flag("verbose", verbose)
    optimizer = check_parts(model, optimizer)
    check_number("weight_decay", weight_decay, 0)
    train = as_splits(data, check_seed(seed)).train
    if model is None:
        model = MLP((200, 100), len(train.classes))
    trainer = own_trainer(model, optimizer, weight_decay, backend, seed, train.x.shape[1:])
    rows = DeviceData(trainer.model, trainer.loss, train, None, name="x_train", target="t_train")
    batch_size = min(batch_size, len(train))
    batches, an_epoch = _batches(len(train), batch_size, trainer.seed), len(train) // batch_size

    lr = np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    least = math.inf
    diverged = False
    to_device, to_host = trainer.model.ops.to_device, trainer.model.ops.to_host
    with ticking(-(-steps // an_epoch), verbose=verbose) as tick:
        for step, rate in enumerate(lr.tolist()):
            if step % an_epoch == an_epoch - 1:
                tick("range test")
            trainer.optimizer.lr = rate
            value = float(to_host(trainer.step(*rows.gather(to_device(next(batches))))))
            diverged = not math.isfinite(value)
            if not diverged:
                losses.append(value)
                recent = float(np.mean(losses[-_RECENT:]))
                least = min(least, recent) if len(losses) >= _RECENT else least
                diverged = recent > _DIVERGED * least
            if diverged:
                break
    if len(losses) < _RECENT:
        raise InputError(f"lowest: the loss diverges within {_RECENT} steps at {lowest:g}; begin lower.")
    lr = lr[: len(losses)]
    loss = np.array(losses)
    smoothed = _smooth(np.log10(lr), loss, smoothing)
    title = f"{train.name}, {trainer.model!r}, {type(trainer.optimizer).__name__}"
    bottom = int(smoothed.argmin())
    return LearningRates(title, lr, loss, smoothed, _steepest(lr, smoothed), float(lr[bottom]), diverged)


def _batches(rows: int, size: int, seed: int) -> Iterator[HostArray]:
    """Yield whole batches of row numbers without end, in the order in which `fit` takes them."""
    order = Order(rows, seed)
    for epoch in itertools.count():
        for start in range(0, rows - size + 1, size):
            yield order.rows(epoch, start, start + size)


def _smooth(at: HostArray, values: HostArray, width: float) -> HostArray:
    """Return the mean of the values around each place, with Gaussian weights of standard deviation `width`."""
    weights = np.exp(-0.5 * ((at[:, None] - at) / width) ** 2)
    smoothed: HostArray = weights @ values / weights.sum(axis=1)
    return smoothed


def _steepest(lr: HostArray, smoothed: HostArray) -> float | None:
    bottom = int(smoothed.argmin())
    if bottom == 0 or smoothed[0] - smoothed[bottom] < _FALL * smoothed[0]:
        return None
    slope = np.gradient(smoothed, np.log10(lr))
    return float(lr[int(slope[: bottom + 1].argmin())])
