"""A trained network looked at from inside: weights, activations, gradients, dead units, and its mistakes.

Each part is a function of its own, on a model or on arrays; `inspect` puts them together.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .._support.checks import as_host, check_count, check_labels
from .._support.labels import numbered
from .._support.result import Result, Table
from ..backend import BackendLike
from ..datasets import Dataset, Layout, Splits, as_splits, drawable, load, reads_images
from ..errors import CheckpointError, InputError, InputTypeError
from ..layers import Activation, Convolution, Weighted
from ..model import Sequential
from ..ops import HostArray
from ..plan import Plan
from ..training import DeviceData, RunFolder, Trainer
from . import _inspect_figures as figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 50
_ROWS = 10_000  # at most so many rows' activations are computed
_EXAMPLES = 3  # inputs whose feature maps are kept
_NUMBERS = 20_000_000  # and of one layer at most so many numbers


@dataclass(frozen=True, eq=False)
class Histogram:
    """How the values of one array are spread.

    Args:
        name: Name of the array.
        counts: How many values lie in each bin, (bins,) int64.
        edges: Edges of the bins, (bins + 1,) float64, from the least value to the greatest.
        mean: Mean of the values.
        std: Their standard deviation.
    """

    name: str
    counts: HostArray
    edges: HostArray
    mean: float
    std: float

    @classmethod
    def of(cls, name: str, values: HostArray, bins: int = _BINS) -> "Histogram":
        """Return the histogram of all elements of an array; raise `InputError` for values that are not finite."""
        if not np.isfinite(values).all():
            raise InputError(f"{name}: holds NaN or infinite values; the training diverged, or the file is damaged.")
        values = values.astype(np.float64)
        counts, edges = np.histogram(values, bins)
        return cls(name, counts, edges, float(values.mean()), float(values.std()))


@dataclass(frozen=True, eq=False)
class ActivationHistogram(Histogram):
    """How the outputs of one hidden layer's activation function are spread."""

    units: int = 0
    dead: int = 0
    """Units that give the same value for every row, as a ReLU that is always 0: no gradient passes them. Of pictures a
    unit is a channel, and dead if that holds for each of its pixels."""


@dataclass(frozen=True, eq=False)
class Filters:
    """What one convolution looks for, and what it finds in some inputs."""

    name: str
    """Name of the layer."""
    weights: HostArray
    """(filters, channels, height, width)."""
    maps: HostArray
    """Feature maps (n, filters, height, width): its outputs, after the activation function if one follows."""


@dataclass(frozen=True)
class Mistake:
    """One row that the network misclassified."""

    row: int
    true: int
    predicted: int
    loss: float
    """-log of the probability that the network gave to the true class."""
    probability: float
    """The probability that it gave to the predicted class."""


def weight_histograms(model: Sequential) -> tuple[Histogram, ...]:
    """Return the histograms of the weight matrices, in the order of the layers; biases and the like are left out."""
    return tuple(
        Histogram.of(f"{i} {layer!r}", np.asarray(model.ops.to_host(layer.params["W"])))
        for i, layer in enumerate(model)
        if "W" in layer.params
    )


def activation_histograms(model: Sequential, x: HostArray) -> tuple[ActivationHistogram, ...]:
    """Return the histogram of every activation function's output, without dropout; the model is not changed.

    Args:
        model: A built model.
        x: Inputs (n, *input_shape), of which at most 10000 rows are used; fewer for large layers.
    """
    found = []
    rows = max(1, min(_ROWS, _NUMBERS // max(map(math.prod, model.shapes), default=1)))
    with np.errstate(over="ignore", invalid="ignore"):
        value = model.native_input("x", x[:rows])
        for i, layer in enumerate(model):
            value = layer.forward(value, False)
            if isinstance(layer, Activation):
                host = np.array(model.ops.to_host(value))
                units = host.shape[1] if host.ndim == 4 else math.prod(host.shape[1:])  # of pictures the channels
                alike = (host.min(axis=0) == host.max(axis=0)).reshape(units, -1).all(axis=1)
                all_of_it = Histogram.of(f"{i} {layer!r}", host.reshape(len(host), -1))
                dead = int(np.sum(alike)) if len(host) > 1 else 0
                found.append(ActivationHistogram(**vars(all_of_it), units=units, dead=dead))
    return tuple(found)


def filters(model: Sequential, x: HostArray) -> tuple[Filters, ...]:
    """Return the filters and the feature maps of every convolution, without dropout; the model is not changed.

    Args:
        model: A built model.
        x: Inputs (n, *input_shape), a few.
    """
    found: list[Filters] = []
    if not any(isinstance(layer, Convolution) for layer in model):
        return ()
    to_host, value, open_ = model.ops.to_host, model.native_input("x", x), False
    for i, layer in enumerate(model):
        value = layer.forward(value, False)
        if isinstance(layer, Convolution):
            found.append(Filters(f"{i} {layer!r}", np.array(to_host(layer.params["W"])), np.array(to_host(value))))
        elif open_ and isinstance(layer, Activation):
            found[-1] = replace(found[-1], maps=np.array(to_host(value)))
        open_ = isinstance(layer, Convolution) or (open_ and not isinstance(layer, Activation | Weighted))
    return tuple(found)


def gradient_norms(trainer: Trainer, x: Any, t: Any = None) -> dict[str, float]:
    """Return the Euclidean norm of the loss's gradient by parameter, for one batch.

    Weight decay, clipping and loss scaling are left out; dropout and the batch's own statistics are as in training.
    Parameters, statistics and gradients are left as they were.

    Args:
        trainer: A trainer whose model is built.
        x: The batch, as `Trainer.fit` takes it.
        t: Its targets, as `Trainer.fit` takes them.
    """
    model = trainer.model
    model.need_built("gradient_norms")
    data = DeviceData(model, trainer.loss, x, t, name="x", target="t")
    ops, arena = model.ops, model.arena
    plan = Plan(arena, model.stages, trainer.loss, trainer.optimizer)
    keys = plan.keys(trainer.seed, trainer.steps)
    rng = None if keys is None else ops.to_device(keys)
    buffers = (arena.grads.buffer, arena.batch.buffer)
    kept = [np.array(ops.to_host(buffer)) for buffer in buffers]
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            x, t, *_ = data.gather(ops.to_device(np.arange(len(data))))
            plan.program(len(data)).differentiate(x, t, rng)
        return {name: float(np.linalg.norm(np.array(ops.to_host(g)))) for name, g in model.grads.items()}
    finally:
        for buffer, before in zip(buffers, kept, strict=True):
            buffer[...] = ops.to_device(before)


def confusion_matrix(true: HostArray, predicted: HostArray, classes: int) -> HostArray:
    """Count how many rows of each class were taken for each class.

    Args:
        true: Labels (n,).
        predicted: Predicted labels (n,).
        classes: Number of classes.

    Returns:
        int64 (classes, classes): true classes in rows, predicted ones in columns.
    """
    true = check_labels("true", as_host("true", true), classes)
    predicted = check_labels("predicted", as_host("predicted", predicted), classes)
    if true.shape != predicted.shape or true.ndim != 1:
        raise InputError(f"true and predicted: got shapes {true.shape} and {predicted.shape}, expected (n,) of both.")
    counts: HostArray = np.bincount(true * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def worst_mistakes(scores: HostArray, true: HostArray) -> tuple[Mistake, ...]:
    """Return all misclassified rows, those of the highest loss first.

    Args:
        scores: Outputs (n, classes) before the softmax.
        true: Labels (n,).
    """
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    predicted = scores.argmax(axis=1)
    losses = -logs[np.arange(len(true)), true]
    wrong = np.flatnonzero(predicted != true)
    order = wrong[np.argsort(-losses[wrong], kind="stable")]
    return tuple(
        Mistake(int(i), int(true[i]), int(predicted[i]), float(losses[i]), float(np.exp(logs[i, predicted[i]])))
        for i in order
    )


def confused_pairs(confusion: HostArray) -> list[tuple[int, int, int]]:
    """Return every kind of mistake that occurs, the most frequent first.

    Args:
        confusion: int64 (classes, classes): true classes in rows, predicted ones in columns.

    Returns:
        Tuples of true class, predicted class and number of rows.
    """
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")
    pairs = [(*divmod(int(place), len(wrong)), int(wrong.flat[place])) for place in order]
    return [pair for pair in pairs if pair[2]]


@dataclass(frozen=True, eq=False, repr=False)
class Inspection(Result):
    """What `inspect` returns: weights, activations, gradients, filters and mistakes of a trained network."""

    name: ClassVar[str] = "inspect"

    title: str
    """The network and the data."""
    classes: tuple[str, ...]
    weights: tuple[Histogram, ...]
    activations: tuple[ActivationHistogram, ...]
    gradients: Mapping[str, float]
    """The gradient's norm for one batch, by parameter."""
    confusion: HostArray
    """(classes, classes) int64: true in rows, predicted in columns."""
    mistakes: tuple[Mistake, ...]
    """All mistakes, the worst first."""
    images: HostArray
    """The inputs of the first m mistakes, as they are stored: grey (m, height, width), coloured (m, height, width, 3);
    (0, 0, 0) if they are no images."""
    filters: tuple[Filters, ...] = ()
    """Of every convolution."""
    examples: HostArray = field(default_factory=lambda: np.zeros((0, 0, 0), np.uint8))
    """The inputs that the feature maps are of, one of each of the first classes; in the form of `images`."""

    def summary(self) -> str:
        """Summarise accuracy, the most confused pairs, the worst mistakes, and the layers in numbers."""
        rows, right = int(self.confusion.sum()), int(np.trace(self.confusion))
        lines = [f"{self.title}: {right} of {rows} rows right ({right / rows:.2%})"]
        pairs = confused_pairs(self.confusion)[:5]
        if pairs:
            named = [f"{self.classes[i]} taken for {self.classes[j]} ({n})" for i, j, n in pairs]
            lines.append(f"most confused: {', '.join(named)}")
        lines += [
            f"row {mistake.row}: {self.classes[mistake.true]} taken for {self.classes[mistake.predicted]} with "
            f"probability {mistake.probability:.4f}, loss {mistake.loss:.2f}"
            for mistake in self.mistakes[:3]
        ]
        lines += [
            f"{layer.name}: mean {layer.mean:.3g}, std {layer.std:.3g}, {layer.dead} of {layer.units} units dead"
            for layer in self.activations
        ]
        lines += [
            f"{layer.name}: {len(layer.weights)} filters, of which {np.sum(layer.maps.max(axis=(0, 2, 3)) <= 0)} find "
            f"nothing in {len(layer.maps)} inputs"
            for layer in self.filters
        ]
        norms = {name: norm for name, norm in self.gradients.items() if name.endswith(".W")}
        if norms:
            each = ", ".join(f"{name} {norm:.3g}" for name, norm in norms.items())
            lines.append(f"gradient norms of the weights, one batch: {each}")
        return "\n".join(lines)

    def table(self) -> Table:
        """Return every number in a row of its own: the part, what of it, the quantity and its value."""
        return ("part", "of", "quantity", "value"), self._rows()

    def _rows(self) -> Iterator[Sequence[Any]]:
        for part, histograms in (("weights", self.weights), ("activations", self.activations)):
            for histogram in histograms:
                yield part, histogram.name, "mean", histogram.mean
                yield part, histogram.name, "std", histogram.std
                if isinstance(histogram, ActivationHistogram):
                    yield part, histogram.name, "units", histogram.units
                    yield part, histogram.name, "dead", histogram.dead
                for low, count in zip(histogram.edges, histogram.counts, strict=False):
                    yield part, histogram.name, f"count from {low:g}", count
        for layer in self.filters:
            for number, weights in enumerate(layer.weights):
                yield "filters", f"{layer.name}, filter {number}", "norm", float(np.linalg.norm(weights))
                yield "filters", f"{layer.name}, filter {number}", "mean output", float(layer.maps[:, number].mean())
        for name, norm in self.gradients.items():
            yield "gradients", name, "norm", norm
        for i, j in np.ndindex(self.confusion.shape):
            yield "confusion", f"{self.classes[i]} taken for {self.classes[j]}", "rows", self.confusion[i, j]
        for mistake in self.mistakes:
            yield "mistakes", f"row {mistake.row}", "loss", mistake.loss

    def draw(self) -> "Figure":
        return figures.overview(self)

    def draw_parts(self) -> "dict[str, Figure]":
        return figures.parts(self)


def inspect(
    run: "str | os.PathLike[str] | Trainer",
    data: Any = None,
    *,
    batch_size: int = 100,
    backend: BackendLike = None,
    images: int = 25,
) -> Inspection:
    """Look into a trained network, which is not changed.

    Args:
        run: A folder that `nnx train` wrote, or a trainer.
        data: The data to look at it with: a name, a folder or `Splits`, of which the test part is classified and the
            training part gives the batch of the gradients; a `Dataset`; or a pair (x, t). None for the data that a run
            was trained on; a trainer needs data.
        batch_size: Rows of the batch for the gradients.
        backend: Name of a backend, or a backend, for a run; None for the one in force. A trainer has its own, and takes
            no other.
        images: How many of the worst mistakes are kept as images, if the inputs are images.

    Raises:
        CheckpointError: For a run whose files are missing or damaged.
        InputError: For data that do not fit the network, for a network that is no classifier, and for a trainer with
            `backend`.
        InputTypeError: For a `run` of another type, and for a trainer without data.
    """
    batch_size, images = check_count("batch_size", batch_size), check_count("images", images, 0)
    if isinstance(run, Trainer):
        if data is None:
            raise InputTypeError("data: got None, expected the data to look at the trainer's network with.")
        if backend is not None:
            raise InputError("backend: a trainer has its own already; leave backend out.")
        run.model.need_built("inspect")
        trainer, seed, title, classes = run, run.seed, "", None
    elif isinstance(run, str | os.PathLike):
        folder = RunFolder.existing(Path(run))
        config, about = folder.read_config()
        trainer = Trainer.load(folder.checkpoint, backend=backend)
        seed, title, classes = config.seed, f"{folder.path}, ", about.classes
        data = config.dataset if data is None else data
        if about.table is not None and isinstance(data, str | os.PathLike):  # as the run prepares them
            data = replace(config, dataset=os.fspath(data)).data(about)[1]
    else:
        raise InputTypeError(f"run: got {run!r}, expected the folder of a run, or an nnx.Trainer.")
    if not trainer.loss.classes:
        raise InputError(f"run: was trained with {trainer.loss!r}, expected a classifier; its mistakes can be counted.")
    learned_from, seen = _data(data, seed, trainer.model)
    outputs = trainer.model.output_shape
    if classes is not None and outputs != (len(classes),):
        raise CheckpointError(
            f"{run}: its configuration names {len(classes)} classes, but the network has outputs of {outputs}; "
            "use another copy."
        )
    if len(seen.classes) > outputs[0]:
        raise InputError(f"data: got {len(seen.classes)} classes, but the network tells {outputs[0]} apart.")
    names = classes or (*seen.classes, *map(str, range(len(seen.classes), outputs[0])))

    if len(trainer.model.input_shape) == 3 and seen.x.shape[1:] != trainer.model.input_shape:
        learned_from, seen = learned_from.pictures(), seen.pictures()
    scores = trainer.model.predict(seen)
    mistakes = worst_mistakes(scores, seen.t)
    firsts = [int(np.flatnonzero(seen.t == label)[0]) for label in np.unique(seen.t)[:_EXAMPLES]]
    looked_into = filters(trainer.model, seen.take(firsts).inputs())
    return Inspection(
        title=f"{title}{len(seen)} rows of {seen.name}",
        classes=names,
        weights=weight_histograms(trainer.model),
        activations=activation_histograms(trainer.model, seen.take(np.arange(min(len(seen), _ROWS))).inputs()),
        gradients=gradient_norms(trainer, learned_from.take(np.arange(min(len(learned_from), batch_size)))),
        confusion=confusion_matrix(seen.t, scores.argmax(axis=1), outputs[0]),
        mistakes=mistakes,
        images=_images(seen, [mistake.row for mistake in mistakes[:images]]),
        filters=looked_into,
        examples=_images(seen, firsts if looked_into else []),
    )


def _images(data: Dataset, rows: list[int]) -> HostArray:
    """Return some inputs as they are drawn, or (0, 0, 0) if there are none or they are no images."""
    images = drawable(data.x[rows]) if rows else None
    return np.zeros((0, 0, 0), np.uint8) if images is None else images


def _data(data: Any, seed: int, model: Sequential) -> tuple[Dataset, Dataset]:
    """Return the rows for the gradients, and the rows to classify; image files as the network takes pictures."""
    if isinstance(data, Dataset):
        return data, data
    if isinstance(data, tuple | list) and not isinstance(data, Splits):
        if len(data) != 2:
            raise InputTypeError(f"data: got {len(data)} parts, expected (x, t).")
        x, (t, names) = as_host("x", data[0], model.columns), numbered("t", data[1], model.classes)
        t = t.argmax(axis=1) if t.ndim == 2 else t.astype(np.int64) if names else t
        labels = tuple(map(str, names or range(int(t.max(initial=0)) + 1)))
        whole = Dataset("data", x if x.dtype == np.uint8 else x.astype(np.float32), t, 1.0, labels)
        return whole, whole
    layout = Layout.of(model.input_shape)
    if layout is not None and isinstance(data, str | os.PathLike) and reads_images(data):
        splits = load(data, seed=seed, size=(layout.height, layout.width))
    else:
        splits = as_splits(data, seed)
    return splits.train, splits.test
