"""The pictures of a run: learning curves, and a sheet of test images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..ops import HostArray
from . import plots as plotting
from .console import counted, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RIGHT, _WRONG = "#1a7f37", "#c4162a"


CURVES = {"loss": "loss (mean per row)", "accuracy": "accuracy (share of rows)", "r2": "R2 (share of the variance)"}
"""The entries of a history that are drawn, each with its val_ counterpart, and their axes' labels."""

_WIDE = 100.0  # losses that differ by such a factor are drawn on a logarithmic axis


def curves(history: Mapping[str, Sequence[float]], title: str) -> "Figure":
    """Draw loss and accuracy or R2 over the epochs, training against validation.

    Where the two part, the network overfits.
    """
    names = [name for name in CURVES if name in history]
    with plotting.style():
        figure, [row] = plotting.panels(1, len(names), title, width=5.5, height=3.8)
        for axes, name in zip(row, names, strict=True):
            draw_curve(axes, history, name)
    return figure


def draw_curve(axes: "Axes", history: Mapping[str, Sequence[float]], name: str) -> None:
    """Draw one entry of the history, one of `CURVES`, and its val_ counterpart, if there is one.

    Call it within `plotting.style`.
    """
    from matplotlib.ticker import MaxNLocator

    lines = {"training": history[name], "validation": history.get(f"val_{name}", [])}
    epochs = np.arange(1, len(history[name]) + 1)
    for index, (label, values) in enumerate(lines.items()):
        if len(values):
            marker = {"marker": None} if len(epochs) > 30 else {"markersize": 3}
            axes.plot(epochs, values, label=label, **plotting.line(index) | marker)
    if len(validation := lines["validation"]):
        colour = plotting.COLOURS[1]
        axes.fill_between(epochs, history[name], validation, color=colour, alpha=0.10, linewidth=0, label="gap")
        best = int(np.argmin(validation) if name == "loss" else np.argmax(validation))
        late = best >= len(epochs) / 2
        axes.axvline(best + 1, color=plotting.FAINT, linewidth=0.8, linestyle="--")
        axes.annotate(  # at half the height, where only the first epochs may have a curve
            f"best validation {shown(validation[best])}\nepoch {best + 1}",
            (best + 1, 0.5),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if late else 4, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="center",
            fontsize=8,
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel(CURVES[name])
    axes.set_title("R2" if name == "r2" else name)
    seen = [value for values in lines.values() for value in values]
    if name == "loss" and min(seen) > 0 and max(seen) > _WIDE * min(seen):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper right" if name == "loss" else "lower right")


def samples(
    path: Path, images: HostArray, predicted: HostArray, true: HostArray, classes: Sequence[str], most: int = 50
) -> None:
    """Draw a sheet of test images with the predicted and the true label: mistakes first, at most half of the sheet.

    If there are too few right ones, mistakes fill the rest, too.

    Args:
        path: the file to write.
        images: (n, height, width), or coloured (n, height, width, 3), uint8 or float of any range.
        predicted: (n,) indices into `classes`.
        true: likewise.
        classes: the names of the labels.
        most: images on the sheet.
    """
    wrong, right = np.flatnonzero(predicted != true), np.flatnonzero(predicted == true)
    count = min(most, len(images))
    wrong_shown = wrong[: max(count // 2, count - len(right))]
    chosen = np.concatenate([wrong_shown, right[: count - len(wrong_shown)]])
    captions = []
    for i in chosen.tolist():
        label, good = short(classes[predicted[i]], 11), predicted[i] == true[i]
        captions.append((label, _RIGHT) if good else (f"{label}\nis {short(classes[true[i]], 11)}", _WRONG))
    title = f"{counted(len(images), 'test image')}, {len(right) / len(images):.2%} right."
    if len(wrong):
        which = f"{len(wrong_shown)} of {len(wrong)} mistakes" if len(wrong_shown) < len(wrong) else "Mistakes"
        title += f" {which} in red: predicted, and below it the true label."
    with plotting.style():
        figure = image_sheet(images[chosen], captions, title, columns=10, size=0.9)
    plotting.save(figure, path)


def image_sheet(
    images: HostArray, captions: Sequence[tuple[str, str]], title: str, *, columns: int, size: float
) -> "Figure":
    """Draw images in rows, each with a caption of two lines at most below it. Call it within `plotting.style`.

    Args:
        images: (n, height, width), or coloured (n, height, width, 3); the least number of each is drawn black, the
            greatest white.
        captions: the text and the colour of each.
        title: above all of them.
        columns: images in a row.
        size: width of an image in inches.
    """
    lines = -(-len(images) // columns)
    figure, ((axes,),) = plotting.panels(1, 1, title, width=1.15 * size * columns, height=(size + 0.4) * lines)
    step = 1 + 0.4 / size  # an image is 1 high and wide
    for place, (image, (caption, colour)) in enumerate(zip(images, captions, strict=True)):
        x, y = 1.15 * (place % columns), step * (place // columns)
        axes.imshow(stretched(image), cmap="gray", vmin=0, vmax=1, extent=(x, x + 1, y + 1, y), interpolation="nearest")
        axes.plot([x, x + 1, x + 1, x, x], [y, y, y + 1, y + 1, y], color=colour, linewidth=1.5)
        axes.text(x, y + 1.05, caption, color=colour, va="top", fontsize=7, parse_math=False)
    axes.set(xlim=(-0.05, 1.15 * columns), ylim=(step * lines, -0.05))
    axes.set_axis_off()
    return figure


def stretched(image: HostArray) -> HostArray:
    """Return an image with its least number at 0 and its greatest at 1, as float32; one of equal numbers as zeros."""
    low, high = float(image.min()), float(image.max())
    numbers: HostArray = (image.astype(np.float32) - low) / (high - low if high > low else 1)
    return numbers


def short(name: str, most: int = 12) -> str:
    """Cut a class's name off after so many letters."""
    return name if len(name) <= most else name[: most - 1] + "…"
