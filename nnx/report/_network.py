"""The network from inside: its layers, and how weights and activations are spread."""

import math
from collections.abc import Iterator, Sequence

from .._support import plots as plotting
from ..errors import NnxError
from ..lab import Histogram, Inspection, feature_sheet, filter_sheet, histogram_sheet, weight_histograms
from ..training import Trainer
from ._html import Markup, element, figure, join, missing, paragraph, table
from ._svg import NO_MATPLOTLIB, inline


def network(trainer: Trainer, found: Inspection | None, absent: str) -> Markup:
    """Return a table of the layers, and histograms.

    If `found` is None, what needs data is left out, and the page gives `absent` as the reason.
    """
    try:
        weights = weight_histograms(trainer.model)
    except NnxError as error:
        return join([_layers(trainer, (), found), missing("Histograms", error)])
    parts = [_layers(trainer, weights, found)]
    if found is None:
        parts.append(missing("Activations, gradients and dead units", absent))
    elif found.activations:
        parts.append(_dead(found))
    if not plotting.available():
        return join([*parts, missing("Histograms", NO_MATPLOTLIB)])
    parts += [element("h3", "Weights"), _histograms("weights", weights)]
    if found is not None and found.activations:
        parts += [element("h3", "Activations on the test data"), _histograms("activations", found.activations)]
    if found is not None and found.filters:
        parts += [element("h3", "Filters and feature maps"), *_filters(found)]
    return join(parts)


def _filters(found: Inspection) -> Iterator[Markup]:
    """Yield two figures: what the convolutions look for, and what they find in some inputs."""
    with plotting.style():
        weights, maps = filter_sheet(found.filters), feature_sheet(found.filters, found.examples)
    told = "The filters of each convolution; over several channels their mean is shown."
    yield figure(inline(weights, "filters", "Filters of the convolutions"), told)
    told = f"What the filters answer to, in {len(found.filters[0].maps)} test pictures of different classes."
    yield figure(inline(maps, "features", "Feature maps of the convolutions"), told)


def _layers(trainer: Trainer, weights: Sequence[Histogram], found: Inspection | None) -> Markup:
    model = trainer.model
    spread = {histogram.name: histogram for histogram in weights}
    given = {layer.name: layer for layer in found.activations} if found else {}
    norms = found.gradients if found else {}
    rows = []
    for i, (layer, shape) in enumerate(zip(model, model.shapes, strict=True)):
        name = f"{i} {layer!r}"
        count = sum(math.prod(values.shape) for values in layer.params.values())
        active = given.get(name)
        rows.append(
            (
                name,
                " x ".join(map(str, shape)),
                f"{count:,}" if count else "",
                f"{spread[name].std:.3g}" if name in spread else "",
                f"{norms[f'{i}.W']:.3g}" if f"{i}.W" in norms else "",
                f"{active.mean:.3g}" if active else "",
                f"{active.std:.3g}" if active else "",
                f"{active.dead} of {active.units}" if active else "",
            )
        )
    columns = ("layer", "output", "parameters", "std of weights", "gradient norm", "mean output", "std", "dead units")
    caption = "The layers; gradient norms are those of the weights for one training batch."
    return table(caption, columns, rows, numbers=range(2, 8))


def _dead(found: Inspection) -> Markup:
    dead, units = (sum(getattr(layer, name) for layer in found.activations) for name in ("dead", "units"))
    return paragraph(
        f"{dead:,} of {units:,} hidden units are dead: they give the same value for every test row, so that no "
        "gradient passes them."
        if dead
        else f"None of the {units:,} hidden units is dead: each answers to its input."
    )


def _histograms(kind: str, histograms: Sequence[Histogram]) -> Markup:
    drawn = []
    for index, histogram in enumerate(histograms):
        sentence = (
            f"{histogram.name}: {int(histogram.counts.sum()):,} values from {histogram.edges[0]:.3g} to "
            f"{histogram.edges[-1]:.3g}, mean {histogram.mean:.3g}, standard deviation {histogram.std:.3g}."
        )
        with plotting.style():
            drawing = histogram_sheet([histogram], "")
        drawn.append(figure(inline(drawing, f"{kind}-{index}", f"Histogram of {kind}: {histogram.name}"), sentence))
    return element("div", *drawn, class_="panels")
