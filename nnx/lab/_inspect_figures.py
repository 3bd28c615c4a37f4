"""The figures of an inspection, each drawn from its data."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._support import plots as plotting
from .._support.figures import image_sheet, short, stretched
from .._support.plots import COLOURS, FAINT, INK
from ..ops import HostArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ._inspect import Filters, Histogram, Inspection, Mistake

_TILES = 64  # filters or feature maps of one layer that are shown
_MOST = 30  # classes up to which every cell of the confusion matrix is lettered


def overview(found: "Inspection") -> "Figure":
    """Draw weights, activations, gradients and the confusion matrix on one sheet."""
    figure, ((above, beside), (below, last)) = plotting.panels(
        2, 2, textwrap.fill(found.title, 120), width=5.2, height=4.0
    )
    spreads(above, found.weights, "weights", "weight")
    spreads(beside, found.activations, "hidden activations", "output of the activation function")
    norms(below, found.gradients)
    confusion(last, found.confusion, found.classes)
    return figure


def parts(found: "Inspection") -> "dict[str, Figure]":
    """Draw one figure for each part."""
    made = {}
    if found.weights:
        made["weights"] = histogram_sheet(found.weights, "Weights by layer")
    if found.activations:
        made["activations"] = histogram_sheet(found.activations, f"Activations by layer: {found.title}")
    if found.filters:
        made["filters"] = filter_sheet(found.filters)
        made["features"] = feature_sheet(found.filters, found.examples)
    title = textwrap.fill(found.title, 65)
    advice = "Where norms lie decades apart from layer to layer, gradients vanish or explode"
    figure, ((axes,),) = plotting.panels(1, 1, advice, width=5.6, height=1.2 + 0.28 * len(found.gradients))
    norms(axes, found.gradients)
    made["gradients"] = figure
    size = max(5.0, 2.2 + 0.38 * min(len(found.classes), _MOST))
    figure, ((axes,),) = plotting.panels(1, 1, title, width=size, height=size - 0.3)
    confusion(axes, found.confusion, found.classes)
    made["confusion"] = figure
    if len(found.images):
        made["mistakes"] = mistake_sheet(found.images, found.mistakes, found.classes)
    return made


def spreads(axes: "Axes", histograms: "Sequence[Histogram]", title: str, quantity: str) -> None:
    """Draw histograms of several layers as lines, each by its density, so that layers of any size can be compared."""
    for index, histogram in enumerate(histograms):
        total = max(int(histogram.counts.sum()), 1)
        density = histogram.counts / (total * np.diff(histogram.edges))
        style = {key: value for key, value in plotting.line(index).items() if key != "marker"}
        axes.stairs(density, histogram.edges, label=f"{histogram.name}: std {histogram.std:.3g}", **style)
    axes.set_title(title)
    axes.set_xlabel(f"{quantity} (no unit)")
    axes.set_ylabel("density (logarithmic)")
    axes.set_yscale("log")
    if histograms:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "none in this network", ha="center", transform=axes.transAxes)


def histogram_sheet(histograms: "Sequence[Histogram]", title: str) -> "Figure":
    """Draw histograms on one sheet, one panel for each layer.

    Args:
        histograms: At least one histogram; those of activations show dead units, too.
        title: Title of the sheet.
    """
    columns = min(len(histograms), 3)
    figure, grid = plotting.panels(-(-len(histograms) // columns), columns, title, width=3.8, height=2.7)
    flat = [axes for row in grid for axes in row]
    for axes, histogram in zip(flat, histograms, strict=False):
        share = histogram.counts / max(int(histogram.counts.sum()), 1)
        axes.stairs(share, histogram.edges, fill=True, color=COLOURS[0], alpha=0.6)
        axes.axvline(histogram.mean, color=INK, linestyle="--", linewidth=1)
        dead = getattr(histogram, "dead", None)
        notes = [f"mean {histogram.mean:.3g} (dashed)", f"std {histogram.std:.3g}"]
        notes += [] if dead is None else [f"{dead} of {histogram.units} units dead"]  # type: ignore[attr-defined]
        axes.text(0.97, 0.95, "\n".join(notes), ha="right", va="top", fontsize=8, transform=axes.transAxes)
        axes.set_ylim(0, 1.3 * float(share.max()))
        axes.set_title(histogram.name)
        axes.set_xlabel("value (no unit)")
        axes.set_ylabel("share of the values")
    for axes in flat[len(histograms) :]:
        axes.set_axis_off()
    return figure


def filter_sheet(found: "Sequence[Filters]") -> "Figure":
    """Draw the filters of convolutions, one panel for each layer.

    Filters over three channels that are the network's input are drawn in colour, those over several others as the mean
    over their channels.
    """
    columns = min(len(found), 3)
    title = "Filters: of each the least weight is black,\nthe greatest white"
    figure, grid = plotting.panels(-(-len(found) // columns), columns, title, width=3.6, height=4.2)
    flat = [axes for row in grid for axes in row]
    for index, (axes, layer) in enumerate(zip(flat, found, strict=False)):
        count, channels, height, width = layer.weights.shape
        coloured = index == 0 and channels == 3
        tiles = np.moveaxis(layer.weights, 1, 3) if coloured else layer.weights.mean(axis=1)
        mosaic(axes, tiles[:_TILES])
        axes.set_title(layer.name, fontsize=8)
        shown = f"{min(count, _TILES)} of {count} filters, {height} x {width}"
        mean = "" if coloured or channels == 1 else f"; the mean over {channels} channels"
        axes.set_xlabel(shown + mean, fontsize=8)
    for axes in flat[len(found) :]:
        axes.set_axis_off()
    return figure


def feature_sheet(found: "Sequence[Filters]", examples: HostArray) -> "Figure":
    """Draw the feature maps of every convolution, a column for each input, below the input itself.

    Args:
        found: What `nnx.lab.inspect` found of each convolution.
        examples: The inputs, grey or coloured; none if they cannot be drawn.
    """
    title = "Feature maps: what each filter answers to; the least number of each is black, the greatest white"
    columns, above = len(found[0].maps), 1 if len(examples) else 0
    figure, grid = plotting.panels(above + len(found), columns, title, width=3.6, height=4.0)
    for axes, example in zip(grid[0], examples, strict=False):
        mosaic(axes, example[None])
        axes.set_title("input", fontsize=8)
    for row, layer in zip(grid[above:], found, strict=True):
        for axes, maps in zip(row, layer.maps, strict=True):
            mosaic(axes, maps[:_TILES])
            axes.set_title(layer.name, fontsize=8)
            axes.set_xlabel(f"{min(len(maps), _TILES)} of {len(maps)} maps, {maps.shape[1]} x {maps.shape[2]}")
    return figure


def mosaic(axes: "Axes", images: HostArray) -> None:
    """Draw images (n, height, width) or (n, height, width, 3) beside and below one another, each by its own range."""
    columns = int(np.ceil(len(images) ** 0.5))
    lines = -(-len(images) // columns)
    height, width = images.shape[1:3]
    gap = max(height, width) / 10
    down, across = height + gap, width + gap
    for place, image in enumerate(images):
        x, y = across * (place % columns), down * (place // columns)
        axes.imshow(stretched(image), cmap="gray", vmin=0, vmax=1, extent=(x, x + width, y + height, y))
        axes.plot([x, x + width, x + width, x, x], [y, y, y + height, y + height, y], color=FAINT, linewidth=0.5)
    axes.set(xlim=(-gap, across * columns), ylim=(down * lines, -gap))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def norms(axes: "Axes", gradients: Mapping[str, float]) -> None:
    """Draw the gradient's norm by parameter, weights and others told apart."""
    names = list(gradients)
    for index, (label, weights) in enumerate((("weights", True), ("biases and the like", False))):
        places = [i for i, name in enumerate(names) if name.endswith(".W") == weights and gradients[name] > 0]
        style = {**plotting.line(index), "linestyle": "none", "markersize": 7}
        if places:
            axes.plot([gradients[names[i]] for i in places], places, label=label, clip_on=False, **style)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    positive = [norm for norm in gradients.values() if norm > 0]
    if positive:
        axes.set_xscale("log")
        axes.set_xlim(min(positive) / 3, max(positive) * 12)
        axes.legend(loc="lower right")
    for place, norm in enumerate(gradients.values()):
        at = norm if norm > 0 else axes.get_xlim()[0]
        axes.annotate(f"{norm:.2g}", (at, place), (7, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_title("gradient norms of the loss, one batch")
    axes.set_xlabel("Euclidean norm (logarithmic)")
    axes.set_ylabel("parameter (layer.name)")


def confusion(axes: "Axes", counts: HostArray, classes: Sequence[str]) -> None:
    """Draw true classes in rows, predicted ones in columns, each cell coloured by its share of the row."""
    from matplotlib.colors import to_rgb

    size = len(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = np.zeros((size, size, 4))
    cells[..., :3] = to_rgb(COLOURS[1])
    cells[np.arange(size), np.arange(size), :3] = to_rgb(COLOURS[0])
    # Translucent, because the sheet may be dark; the root lets a single mistake be seen.
    cells[..., 3] = np.where(counts > 0, 0.15 + 0.5 * share**0.5, 0)
    axes.imshow(cells)
    if size <= _MOST:
        for i, j in zip(*np.nonzero(counts), strict=True):
            weight = "normal" if i == j else "bold"
            axes.text(j, i, f"{counts[i, j]}", ha="center", va="center", fontsize=7, weight=weight)
        axes.set_xticks(
            range(size), [short(name) for name in classes], rotation=90 if max(map(len, classes)) > 2 else 0
        )
        axes.set_yticks(range(size), [short(name) for name in classes])
    right, total = int(np.trace(counts)), int(counts.sum())
    axes.set_title(f"confusion matrix: {total - right} mistakes in {total} rows (off the diagonal)")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.grid(visible=False)


def mistake_sheet(images: HostArray, mistakes: "Sequence[Mistake]", classes: Sequence[str]) -> "Figure":
    """Draw the worst mistakes as images, the highest loss first."""
    title = f"The worst {len(images)} of {len(mistakes)} mistakes, the highest loss first (p: given to the wrong class)"
    captions = [
        (
            f"{short(classes[mistake.true])} taken for {short(classes[mistake.predicted])}\n"
            f"row {mistake.row}: p {mistake.probability:.3f}, loss {mistake.loss:.2f}",
            INK,
        )
        for mistake in mistakes[: len(images)]
    ]
    return image_sheet(images, captions, title, columns=5, size=1.8)
