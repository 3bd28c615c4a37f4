"""Initial weights: what they make of the activations, layer by layer, and of the training."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import initializers
from .. import optimizers as rules
from .._support import plots as plotting
from .._support.checks import check_count, check_list, check_number, check_seed
from .._support.result import Result, Table
from ..backend import BackendLike, choose
from ..datasets import Data, as_splits
from ..errors import look_up, unknown
from ..layers import Affine, Flatten, Layer
from ..model import Sequential, known_activations
from ..ops import HostArray
from ..training import Trainer
from ._training import Curve, ticking, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INITS = ("zero", "constant", 1.0, 0.01, "xavier", "he")

_VANISHING, _EXPLODING = 0.02, 10.0  # standard deviation of the activations; that of the inputs is 1
_ALIKE = 0.05  # of the standard deviation
_FLAT, _SATURATING = 0.05, 1 / 3  # share of the greatest slope; share of the activations
_DEAD = 0.05  # share of the units
_FAR = 0.1  # between two accuracies
_MEANING = {
    "identical": "all units of the layer are the same",
    "dead": "units whose slope is 0 for every row, so that they learn nothing",
    "saturating": "many activations where the function is flat",
    "vanishing": "hardly any spread is left",
    "exploding": "the spread grows out of bounds",
    "rows alike": "units differ from each other, but hardly from row to row: the input is lost",
}
_STEEPEST = {"sigmoid": 0.25, "tanh": 1.0}
_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, 3.0), "identity": (-3.0, 3.0)}
_WIDE = (-3.0, 3.0)
_BINS = 50
_SGD_RATE = 0.1


@dataclass(frozen=True, eq=False)
class LayerActivations:
    """The activations (rows, units) of one layer before training."""

    mean: float
    std: float
    """Standard deviation of all activations."""
    rows_std: float
    """Standard deviation of a unit over the rows, averaged over the units: what is left of the input."""
    saturated: float
    """Share of the activations where the slope is below 5 % of the greatest; 0 if the function cannot saturate."""
    dead: float
    """The share of the units whose slope is 0 for every row."""
    identical: bool
    """Whether all units have the same output for every row."""
    edges: HostArray
    """(51,) edges of the histogram's bins."""
    counts: HostArray
    """(50,) number of activations in each bin."""
    beyond: float
    """Share of the activations outside all bins."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What is wrong with the layer.

        "identical": all units are the same. "dead": at least 5 % of the units are. "saturating": more than a third of
        the activations are. "vanishing": the standard deviation is below 0.02 (that of the inputs is 1). "exploding":
        it is above 10. "rows alike": less than 5 % of the standard deviation is from row to row, the rest being
        differences between the units.
        """
        found = {
            "identical": self.identical,
            "dead": self.dead >= _DEAD,
            "saturating": self.saturated > _SATURATING,
            "vanishing": self.std < _VANISHING,
            "exploding": not self.std <= _EXPLODING,
            "rows alike": self.rows_std < _ALIKE * self.std,
        }
        return tuple(name for name, holds in found.items() if holds)


@dataclass(frozen=True, eq=False)
class Start:
    """One activation function with one initialisation."""

    layers: tuple[LayerActivations, ...]
    curve: Curve
    """The learning curve of the training."""
    still_identical: tuple[bool, ...]
    """For each hidden layer, whether all its units have the same weights and biases after the training, to 1e-4 of the
    greatest."""

    def flags(self) -> dict[str, int]:
        """Return what is wrong, with the number of the first layer in which it is, counted from 1."""
        first: dict[str, int] = {}
        for number, layer in enumerate(self.layers, 1):
            for flag in layer.flags:
                first.setdefault(flag, number)
        return first


@dataclass(frozen=True, eq=False, repr=False)
class Init(Result):
    """What `init` returns: activations and learning curves for each pair of activation function and initial weights."""

    starts: dict[tuple[str, str], Start]
    """By activation function and initialisation, such as ("relu", "he") or ("tanh", "std 0.01")."""
    about: str
    """The network and the inputs whose activations are looked at."""
    training: str
    """Data, optimizer, epochs, batches, seed."""

    name = "init"

    def summary(self) -> str:
        lines = [self.about, self.training]
        for activation in dict.fromkeys(activation for activation, _ in self.starts):
            starts = {init: start for (of, init), start in self.starts.items() if of == activation}
            head = "std of the activations by layer"
            width = max(8 * max(len(start.layers) for start in starts.values()), len(head))
            lines += ["", f"{activation:<12}{head:<{width}}{'loss':>9}{'val. acc.':>11}"]
            for init, start in starts.items():
                stds = "".join(f"{layer.std:<8.2g}" for layer in start.layers)
                curve = start.curve
                told = f"{'diverged':>20}"
                if not curve.diverged:
                    told = f"{curve.loss[-1]:>9.4f}{curve.val_accuracy[-1]:>11.4f}"
                lines.append(f"  {init:<10}{stds:<{width}}{told}")
                flags = [f"{flag} ({number})" for flag, number in start.flags().items()]
                if "identical" in start.flags():
                    flags[0] += ", still after training" if all(start.still_identical) else ", not after training"
                if flags:
                    lines.append(f"{'':<12}{', '.join(flags)}")
            lines += _surprise(starts)
        found = [flag for flag in _MEANING if any(flag in start.flags() for start in self.starts.values())]
        if found:
            lines += ["", "What is wrong, with the first layer in which it is:"]
            lines += [f"  {flag}: {_MEANING[flag]}" for flag in found]
        return "\n".join(lines)

    def table(self) -> Table:
        columns = ("activation", "init", "layer", "mean", "std", "rows_std", "saturated", "dead", "identical")
        rows = [
            (
                *(activation, init, number, layer.mean, layer.std, layer.rows_std, layer.saturated, layer.dead),
                *(layer.identical, start.still_identical[number - 1], " + ".join(layer.flags)),
            )
            for (activation, init), start in self.starts.items()
            for number, layer in enumerate(start.layers, 1)
        ]
        return (*columns, "identical_after_training", "flags"), rows

    def tables(self) -> dict[str, Table]:
        bins = [
            (activation, init, number, float(low), float(high), int(count))
            for (activation, init), start in self.starts.items()
            for number, layer in enumerate(start.layers, 1)
            for low, high, count in zip(layer.edges, layer.edges[1:], layer.counts, strict=False)
        ]
        epochs = [
            (activation, init, epoch, *values)
            for (activation, init), start in self.starts.items()
            for epoch, values in enumerate(zip(start.curve.loss, start.curve.val_accuracy, strict=True), 1)
        ]
        return {
            **super().tables(),
            f"{self.name}-histograms": (("activation", "init", "layer", "from", "to", "count"), bins),
            f"{self.name}-curves": (("activation", "init", "epoch", "loss", "val_accuracy"), epochs),
        }

    def draw(self) -> "Figure":
        activations = list(dict.fromkeys(activation for activation, _ in self.starts))
        inits = list(dict.fromkeys(init for _, init in self.starts))
        figure, grid = plotting.panels(
            len(activations),
            len(inits) + 2,
            f"Initial weights: {self.about}",
            width=2.35,
            height=3.3,
        )
        found = {flag for start in self.starts.values() for flag in start.flags()}
        told = "; ".join(f"{flag}: {meaning}" for flag, meaning in _MEANING.items() if flag in found)
        note = textwrap.fill(f"Left: histograms, heights by the square root of the count. {told}", 36 * len(grid[0]))
        figure.supxlabel(f"{note}\nRight: {self.training}", fontsize=8)
        for axes, activation in zip(grid, activations, strict=True):
            for panel, init in zip(axes, inits, strict=False):
                _ridges(panel, f"{activation}, {init}", self.starts[activation, init], _RANGES.get(activation, _WIDE))
            axes[0].set_ylabel("layer")
            curves = plotting.merge(axes[-2:])
            for i, init in enumerate(inits):
                self._draw_curve(curves, init, self.starts[activation, init].curve, plotting.line(i))
            curves.set(title=f"{activation}: training", xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1.35))
            curves.set_yticks(np.linspace(0, 1, 6))
            curves.locator_params(axis="x", integer=True)
            curves.legend(loc="upper center", fontsize=7, ncols=3)
        return figure

    def _draw_curve(self, axes: Any, init: str, curve: Curve, look: dict[str, Any]) -> None:
        count = len(curve.val_accuracy)
        label = f"{init} (diverged)" if curve.diverged else init
        axes.plot(range(1, count + 1), curve.val_accuracy, label=label, markevery=max(1, count // 8), **look)


def _surprise(starts: "dict[str, Start]") -> list[str]:
    """Return a sentence where weights with a flaw learn far more than the recommended ones, "xavier" and "he"."""
    ends = {init: start.curve.val_accuracy[-1] for init, start in starts.items() if not start.curve.diverged}
    best = max(ends, key=lambda init: ends[init], default="")
    behind = [init for init in initializers.INITIALIZERS if ends.get(init, 1.0) < ends.get(best, 0.0) - _FAR]
    flaws = {init: f"{init} ({', '.join(starts[init].flags())})" for init in (best, *behind)}
    if not behind or not all(starts[init].flags() for init in flaws):
        return []
    others = " and ".join(flaws[init] for init in behind)
    return [
        f"  {flaws[best]} learns more here than {others}: such a flaw slows a training down, and need not stop it. "
        "Try fewer layers, or adam as the optimizer."
    ]


def _ridges(axes: Any, title: str, start: Start, limits: tuple[float, float]) -> None:
    """Draw the layers' histograms one below the other, each scaled to its own height.

    Heights are square roots of the counts, so that tails can be seen.
    """
    for number, layer in enumerate(start.layers, 1):
        heights = 0.7 * np.sqrt(layer.counts / max(layer.counts.max(), 1))
        axes.stairs(number - heights, layer.edges, baseline=number, fill=True, color=plotting.COLOURS[0], alpha=0.75)
        axes.axhline(number, color=plotting.INK, linewidth=0.6)
        note = f"std {layer.std:.2g}" + (f", {layer.beyond:.0%} beyond →" if layer.beyond > 0.005 else "")
        place = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        axes.text(0.98, number - 0.84, note, fontsize=7, **place)
    axes.set(xlim=limits, ylim=(len(start.layers) + 0.15, 0), yticks=range(1, len(start.layers) + 1))
    axes.grid(visible=False)
    flags = ", ".join(start.flags()) or "sound"
    if all(start.still_identical):
        flags = flags.replace("identical", "identical to the end")
    axes.set_title(f"{title}\n{flags}", fontsize=8)


def init(
    data: Data = "digits",
    *,
    inits: "Sequence[str | float]" = INITS,
    activations: Sequence[str] = ("sigmoid", "tanh", "relu"),
    constant: float = 0.01,
    layers: int = 5,
    units: int = 100,
    rows: int = 1000,
    optimizer: str = "sgd",
    lr: float | None = None,
    epochs: int = 20,
    batch_size: int = 32,
    seed: int = 0,
    backend: BackendLike = None,
    verbose: bool = True,
) -> Init:
    """Measure deep networks' activations before training, and train them, for several initial weights.

    The activations are those of `layers` layers of `units` units on (rows, units) normal inputs of mean 0 and standard
    deviation 1. The network that is trained has the same layers on `data`, and one more for the classes; biases begin
    at 0. `LayerActivations.flags` says what counts as identical, dead, saturating, vanishing, exploding and rows alike.
    (Glorot & Bengio 2010; He et al. 2015.)

    Args:
        data: What `nnx.datasets.load` takes, a `Dataset`, `Splits` or a pair (x, t).
        inits: "zero" (all weights 0), "constant" (all `constant`), "xavier", "he", or standard deviations. They hold
            for every layer, including the last of the network that is trained.
        activations: Names of activation functions.
        constant: The weight of "constant".
        layers: Number of hidden layers.
        units: Units of each.
        rows: Rows of the normal inputs, at least 2.
        optimizer: Name of the optimizer.
        lr: Learning rate; None for 0.1 with SGD, else the optimizer's own.
        epochs: Number of epochs of each training.
        batch_size: Rows of a batch.
        seed: Seed of the inputs, the split, the weights and the batches.
        backend: Name of a backend, or a backend; None for the one in force.
        verbose: Whether to show progress.

    Returns:
        Activations and learning curve for each pair of activation function and initial weights.

    Raises:
        InputError: For unknown names and values out of their range.
        DatasetError: For data that cannot be split.
    """
    chosen = _inits(inits)
    kinds = []
    for name in check_list("activations", activations, "['sigmoid', 'relu']"):
        look_up("activation", name, known_activations())
        kinds.append(name.lower())
    constant = check_number("constant", constant, -np.inf)
    layers, units, rows = check_count("layers", layers), check_count("units", units), check_count("rows", rows, 2)
    epochs, batch_size = check_count("epochs", epochs), check_count("batch_size", batch_size)
    if look_up("optimizer", optimizer, rules.OPTIMIZERS) is rules.SGD and lr is None:
        lr = _SGD_RATE
    rate = {} if lr is None else {"lr": check_number("lr", lr, 0, above=True)}
    check_seed(seed)
    backend = choose(backend).backend
    splits = as_splits(data, seed)

    inputs = np.random.default_rng((seed, 2)).standard_normal((rows, units))
    starts = {}
    pairs = [(activation, title) for activation in dict.fromkeys(kinds) for title in chosen]
    with ticking(epochs * len(pairs), verbose=verbose) as tick:
        for activation, title in pairs:
            kind = chosen[title]
            looked_at = _network(kind, constant, activation, layers, units, None, (units,), seed, backend)
            classes = len(splits.train.classes)
            model = _network(
                kind, constant, activation, layers, units, classes, splits.train.x.shape[1:], seed, backend
            )
            trainer = Trainer(model, rules.optimizer(optimizer, **rate), seed=seed)
            name = f"{activation}, {title}"
            curve = train(trainer, splits, epochs=epochs, batch_size=batch_size, name=name, tick=tick)
            starts[activation, title] = Start(_look(looked_at, inputs, activation), curve, _identical(model))
    return Init(
        starts,
        f"activations of {layers} layers of {units} units on {rows} rows of normal inputs",
        f"{splits.train.name}, {layers} layers of {units} units, {rules.optimizer(optimizer, **rate)!r}, "
        f"batches of {batch_size}, seed {seed}",
    )


def _inits(inits: Any) -> "dict[str, str | float]":
    """Return the initial weights by the name that is shown."""
    named: dict[str, str | float] = {}
    for entry in check_list("inits", inits, "['zero', 0.01, 'he']"):
        if isinstance(entry, str):
            known = ("zero", "constant", *initializers.INITIALIZERS)
            if entry.lower() not in known:
                raise unknown("initialisation", entry, [*known, "a standard deviation"])
            named[entry.lower()] = entry.lower()
        else:
            std = check_number("inits", entry, 0)
            named[f"std {std:g}"] = std
    return named


def _network(
    kind: "str | float",
    constant: float,
    activation: str,
    layers: int,
    units: int,
    classes: int | None,
    shape: tuple[int, ...],
    seed: int,
    backend: BackendLike,
) -> Sequential:
    """Build the network; it ends with an Affine for the classes, or with the last activation function."""
    drawn = 0.0 if kind in ("zero", "constant") else kind
    parts: list[Layer] = [Flatten()]
    for _ in range(layers):
        parts += [Affine(units, init=drawn), known_activations()[activation]()]
    if classes is not None:
        parts.append(Affine(classes, init=drawn))
    model = Sequential(*parts).build(shape, backend=backend, seed=seed)
    if kind == "constant":
        state = model.state_dict()
        model.load_state_dict({n: np.full_like(a, constant) if a.ndim == 2 else a for n, a in state.items()})
    return model


def _look(model: Sequential, inputs: HostArray, activation: str) -> tuple[LayerActivations, ...]:
    found = []
    y = model.native_input("inputs", inputs)
    with np.errstate(over="ignore", invalid="ignore"):
        for layer in model:
            y = layer.forward(y)
            if not isinstance(layer, Affine | Flatten):
                slope = model.ops.to_host(layer.backward(model.ops.xp.ones_like(y)))
                found.append(_measure(np.array(model.ops.to_host(y), np.float64), slope, activation))
    return tuple(found)


def _measure(y: HostArray, slope: HostArray, activation: str) -> LayerActivations:
    counts, edges = np.histogram(y, _BINS, _RANGES.get(activation, _WIDE))
    steepest = _STEEPEST.get(activation)
    largest = float(np.abs(y).max())
    return LayerActivations(
        mean=float(y.mean()),
        std=float(y.std()),
        rows_std=float(y.std(axis=0).mean()),
        saturated=0.0 if steepest is None else float(np.mean(slope < _FLAT * steepest)),
        dead=float(np.mean((slope == 0).all(axis=0))),
        identical=y.shape[1] > 1 and bool(np.ptp(y, axis=1).max() <= 1e-4 * largest),
        edges=edges,
        counts=counts,
        beyond=float(1 - counts.sum() / y.size),
    )


def _identical(model: Sequential) -> tuple[bool, ...]:
    hidden = [layer for layer in model if isinstance(layer, Affine)][:-1]
    parts = [
        np.vstack([model.ops.to_host(layer.params["W"]), model.ops.to_host(layer.params["b"])[None]])
        for layer in hidden
    ]
    return tuple(
        p.shape[1] > 1 and bool(np.ptp(p, axis=1).max() <= 1e-4 * max(np.abs(p).max(), np.finfo(p.dtype).tiny))
        for p in parts
    )
