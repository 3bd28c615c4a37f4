"""The optimizers' paths down an elongated bowl, and their learning curves on a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import optimizers as rules
from .._support import plots as plotting
from .._support.checks import check_count, check_list, check_number, check_seed
from .._support.console import counted
from .._support.renamed import renamed
from .._support.result import Result, Table
from ..backend import BackendLike, choose
from ..datasets import Data, as_splits
from ..errors import InputError, InputTypeError, look_up
from ..model import MLP
from ..ops import HostArray, Ops
from ..training import Trainer
from ._descent import check_point, descend, draw_map, draw_path, gone
from ._training import Curve, ticking, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOWL_RATES = {
    "sgd": 0.95,
    "momentum": 0.1,
    "nesterov": 0.1,
    "adagrad": 1.5,
    "rmsprop": 0.1,
    "adam": 0.3,
    "adamw": 0.3,
    "nadam": 0.3,
    "lion": 0.1,
}
"""Learning rates that suit the bowl: of SGD, Momentum, AdaGrad and Adam those of the study notes."""


@dataclass(frozen=True, eq=False)
class Descent:
    """An optimizer's path down the bowl."""

    rate: float
    points: HostArray
    """(1 + updates, 2) float64, the start first."""
    end: str
    """"arrived", "on its way" (it took all steps) or "diverged"."""

    @property
    def steps(self) -> int:
        """The number of updates."""
        return len(self.points) - 1

    @property
    def length(self) -> float:
        """The length of the path: the sum of the lengths of its steps."""
        return float(np.hypot(*np.diff(self.points, axis=0).T).sum())

    def __str__(self) -> str:
        if self.end == "arrived":
            return f"{counted(self.steps, 'step')}, {self.length:.1f} long"
        return f"{'diverges' if self.end == 'diverged' else 'not there'} after {counted(self.steps, 'step')}"


@dataclass(frozen=True, eq=False, repr=False)
class Optimizers(Result):
    """What `optimizers` returns: for each optimizer its path down the bowl, and its learning curve."""

    start: tuple[float, float]
    distance: float
    """The distance from the minimum at which a descent ends."""
    descents: dict[str, Descent]
    curves: dict[str, Curve]
    rates: dict[str, float]
    """Learning rates of the trainings, by optimizer."""
    about: str
    """Data, network, epochs, batches, seed."""

    name = "optimizers"

    def summary(self) -> str:
        x, y = self.start
        lines = [
            f"bowl: x²/20 + y², from ({x:g}, {y:g}) to a distance of {self.distance:g} from the minimum",
            f"data: {self.about}",
            "",
            f"{'':<14}on the bowl{'':<26}on the data",
            f"{'':<12}{'lr':>6}{'steps':>8}{'length':>9}  {'end':<12}{'lr':>7}{'loss':>10}{'val. acc.':>11}",
        ]
        for name, descent in self.descents.items():
            curve = self.curves[name]
            told = f"{'diverged':>10}" if curve.diverged else f"{curve.loss[-1]:>10.4f}{curve.val_accuracy[-1]:>11.4f}"
            length = f"{descent.length:.{'1f' if descent.length < 1e5 else '1e'}}"
            lines.append(
                f"{_title(name):<12}{descent.rate:>6g}{descent.steps:>8}{length:>9}  {descent.end:<12}"
                f"{self.rates[name]:>7g}{told}"
            )
        return "\n".join(lines)

    def table(self) -> Table:
        rows = [
            (name, self.rates[name], epoch, loss, accuracy)
            for name, curve in self.curves.items()
            for epoch, (loss, accuracy) in enumerate(zip(curve.loss, curve.val_accuracy, strict=True), 1)
        ]
        return ("optimizer", "learning_rate", "epoch", "loss", "val_accuracy"), rows

    def tables(self) -> dict[str, Table]:
        rows = [
            (name, descent.rate, step, *map(float, point))
            for name, descent in self.descents.items()
            for step, point in enumerate(descent.points)
        ]
        return {**super().tables(), f"{self.name}-bowl": (("optimizer", "learning_rate", "step", "x", "y"), rows)}

    def draw(self) -> "Figure":
        count = len(self.descents) + 1  # with the bars
        columns = min((5, 4, 3), key=lambda columns: (-(-count // columns) * columns - count, -columns))
        rows = -(-count // columns)
        figure, grid = plotting.panels(
            rows + 1,
            columns,
            f"Optimizers on the bowl f(x, y) = x²/20 + y², from ● to a distance of {self.distance:g} from its minimum "
            "at +, and on data",
            width=3.4,
            height=2.9,
        )
        panels = [axes for row in grid[:rows] for axes in row]
        for panel, (name, descent) in zip(panels, self.descents.items(), strict=False):
            self._draw_descent(panel, name, descent)
        self._draw_lengths(plotting.merge(panels[count - 1 :]))
        half = columns // 2
        self._draw_curves(plotting.merge(grid[rows][:half]), plotting.merge(grid[rows][half:]))
        return figure

    def _draw_descent(self, axes: Any, name: str, descent: Descent) -> None:
        wide, high = 1.3 * max(abs(self.start[0]), 1), 1.6 * max(abs(self.start[1]), 1)
        x, y = np.linspace(-wide, wide, 81), np.linspace(-high, high, 81)
        f = x**2 / 20 + y[:, None] ** 2
        draw_map(axes, x, y, f, f.max() * np.linspace(0.05, 1, 10) ** 2)
        draw_path(axes, descent.points, _look(name))
        axes.plot(0, 0, "+", color=plotting.INK, markersize=9)
        axes.set_title(f"{_title(name)}, learning rate {descent.rate:g}\n{descent}")
        if name == "adamw":
            paper = {"facecolor": plotting.PAPER, "edgecolor": "none", "pad": 1.5}
            note = "without weights to decay it is Adam"
            axes.text(0.5, 0.05, note, transform=axes.transAxes, ha="center", fontsize=8, bbox=paper)

    def _draw_lengths(self, axes: Any) -> None:
        arrived = {name: d for name, d in self.descents.items() if d.end == "arrived"}
        names = list(arrived)[::-1]
        bars = axes.barh([_title(name) for name in names], [arrived[name].length for name in names])
        for bar, name in zip(bars, names, strict=True):
            bar.set_color(_look(name)["color"])
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        straight = max(float(np.hypot(*self.start)) - self.distance, 0)
        axes.axvline(straight, color=plotting.INK, linestyle=":", linewidth=1)
        axes.set(title="length of the path\n(dotted: the straight line)", xlabel="distance travelled")
        axes.margins(x=0.15)
        axes.grid(visible=False, axis="y")

    def _draw_curves(self, loss: Any, accuracy: Any) -> None:
        for name, curve in self.curves.items():
            label = f"{_title(name)}, {self.rates[name]:g}" + (" (diverged)" if curve.diverged else "")
            epochs = range(1, len(curve.loss) + 1)
            look = {**_look(name), "markevery": max(1, len(curve.loss) // 10)}
            loss.plot(epochs, curve.loss, label=label, **look)
            accuracy.plot(epochs, curve.val_accuracy, label=label, **look)
        if any(value > 0 for curve in self.curves.values() for value in curve.loss):
            loss.set_yscale("log")
        for axes in (loss, accuracy):
            axes.locator_params(axis="x", integer=True)
        loss.set(title=self.about, xlabel="epoch", ylabel="training loss (mean per row)")
        accuracy.set(title="the same initial weights and batches for all", xlabel="epoch", ylabel="validation accuracy")
        accuracy.legend(loc="lower right", title="optimizer, learning rate", title_fontsize=8, ncols=2)


def _title(name: str) -> str:
    return rules.OPTIMIZERS[name].__name__


def _look(name: str) -> dict[str, Any]:
    """Return an optimizer's colour, dashes and marker: the same ones, whichever others it is compared with."""
    return plotting.line(list(rules.OPTIMIZERS).index(name))


@renamed(names="optimizers", rates="lr", bowl_rates="bowl_lr")
def optimizers(
    data: Data = "digits",
    *,
    optimizers: "Sequence[str] | None" = None,
    lr: "float | Mapping[str, float] | None" = None,
    bowl_lr: "float | Mapping[str, float] | None" = None,
    start: "Sequence[float]" = (-7.0, 2.0),
    distance: float = 0.1,
    steps: int = 200,
    hidden: Sequence[int] = (100, 100),
    epochs: int = 20,
    batch_size: int = 32,
    seed: int = 0,
    backend: BackendLike = None,
    verbose: bool = True,
) -> Optimizers:
    """Compare the optimizers' paths on f = x**2/20 + y**2, and their learning curves on data.

    The paths are made by `Optimizer.update` on the backend in float64. The trainings are those of an MLP with ReLU,
    with the same initial weights and batches for each optimizer. A training that diverges is a result like any other.

    Args:
        data: What `nnx.datasets.load` takes, a `Dataset`, `Splits` or a pair (x, t).
        optimizers: Names of optimizers; None for all of `nnx.optimizers.OPTIMIZERS`.
        lr: Learning rate of the trainings: one for all, or by name; each optimizer's own where there is none.
        bowl_lr: Learning rate on the bowl, likewise; those of `BOWL_RATES` where there is none.
        start: The first point, farther than `distance` from the minimum (0, 0).
        distance: The distance from the minimum at which a path ends.
        steps: Number of updates on the bowl at most.
        hidden: Units of each hidden layer.
        epochs: Number of epochs of each training.
        batch_size: Rows of a batch.
        seed: Seed of the split, the weights and the batches.
        backend: Name of a backend, or a backend; None for the one in force.
        verbose: Whether to show progress.

    Returns:
        A path and a learning curve for each optimizer.

    Raises:
        InputError: For unknown names and values out of their range.
        InputTypeError: For arguments of a wrong type.
        DatasetError: For data that cannot be split.
    """
    chosen = _names(optimizers)
    point, distance = check_point("start", start), check_number("distance", distance, 0, above=True)
    if np.hypot(*point) <= distance:
        raise InputError(f"start: got {point}, expected a point farther than {distance:g} from the minimum (0, 0).")
    steps, epochs = check_count("steps", steps), check_count("epochs", epochs)
    batch_size = check_count("batch_size", batch_size)
    bowl = {**dict.fromkeys(rules.OPTIMIZERS, 0.1), **BOWL_RATES, **_rates("bowl_lr", bowl_lr, chosen)}
    own: dict[str, Any] = {name: rules.optimizer(name).lr for name in chosen}
    own |= _rates("lr", lr, chosen)
    MLP(hidden, 2)  # refuses wrong sizes before the data are loaded
    check_seed(seed)
    ops = Ops(choose(backend).backend)
    splits = as_splits(data, seed)

    descents = {name: _descend(ops, name, bowl[name], point, steps, distance) for name in chosen}
    curves = {}
    with ticking(epochs * len(chosen), verbose=verbose) as tick:
        for name in chosen:
            model = MLP(hidden, len(splits.train.classes))
            trainer = Trainer(model, rules.optimizer(name, lr=own[name]), backend=ops.backend, seed=seed)
            curves[name] = train(trainer, splits, epochs=epochs, batch_size=batch_size, name=_title(name), tick=tick)
    layers = "-".join(map(str, (int(np.prod(splits.train.x.shape[1:])), *hidden, len(splits.train.classes))))
    about = f"{splits.train.name}: {layers}, ReLU, batches of {batch_size}, seed {seed}"
    return Optimizers(point, distance, descents, curves, own, about)


def _names(names: Any) -> list[str]:
    if names is None:
        return list(rules.OPTIMIZERS)
    names = check_list("optimizers", names, "['sgd', 'adam']")
    for name in names:
        look_up("optimizer", name, rules.OPTIMIZERS)
    return list(dict.fromkeys(name.lower() for name in names))


def _rates(what: str, rates: Any, names: Sequence[str]) -> dict[str, float]:
    if rates is None:
        return {}
    if isinstance(rates, list | tuple | str):
        raise InputTypeError(
            f"{what}: got {rates!r}, expected a learning rate, or some by name such as {{'sgd': 0.1}}."
        )
    if not isinstance(rates, Mapping):
        return dict.fromkeys(names, check_number(what, rates, 0, above=True))
    checked = {}
    for name, rate in rates.items():
        look_up("optimizer", name, rules.OPTIMIZERS)
        if name.lower() not in names:
            raise InputError(f"{what}: got a rate of {name}, which is not among the optimizers {', '.join(names)}.")
        checked[name.lower()] = check_number(f"{what}[{name!r}]", rate, 0, above=True)
    return checked


def _descend(ops: Ops, name: str, rate: float, start: tuple[float, float], steps: int, distance: float) -> Descent:
    def done(point: HostArray) -> bool:
        return bool(np.hypot(*point) <= distance) or gone(point, size)

    size = max(float(np.hypot(*start)), 1.0)
    with np.errstate(over="ignore", invalid="ignore"):  # a rate that is far too great
        points = descend(ops, rules.optimizer(name, lr=rate), _slope, start, steps, done)
    end = "diverged" if gone(points[-1], size) else "arrived" if done(points[-1]) else "on its way"
    return Descent(rate, points, end)


def _slope(point: HostArray) -> HostArray:
    return np.array([point[0] / 10, 2 * point[1]])
