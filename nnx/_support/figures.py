"""The pictures of a run: learning curves (matplotlib) and a sheet of test images (Pillow)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..ops import HostArray
from . import plots as plotting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RIGHT, _WRONG, _INK, _PAPER = "#1a7f37", "#c4162a", "#24292f", "#ffffff"


def curves(path: Path, history: Mapping[str, Sequence[float]], title: str) -> None:
    """Draw loss and accuracy over the epochs, training against validation, to a file.

    Where the two part, the network overfits.
    """
    names = [name for name in ("loss", "accuracy") if name in history]
    with plotting.style():
        figure, [row] = plotting.panels(1, len(names), title, width=5.5, height=3.8)
        for axes, name in zip(row, names, strict=True):
            draw_curve(axes, history, name)
    plotting.save(figure, path)


def draw_curve(axes: "Axes", history: Mapping[str, Sequence[float]], name: str) -> None:
    """Draw one entry of the history, "loss" or "accuracy", and its val_ counterpart, if there is one.

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
            f"best validation {validation[best]:.4f}\nepoch {best + 1}",
            (best + 1, 0.5),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if late else 4, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="center",
            fontsize=8,
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss (mean per row)" if name == "loss" else "accuracy (share of rows)")
    axes.set_title(name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper right" if name == "loss" else "lower right")


def samples(
    path: Path,
    images: HostArray,
    predicted: HostArray,
    true: HostArray,
    classes: Sequence[str],
    *,
    columns: int = 10,
    rows: int = 5,
) -> None:
    """Draw a sheet of test images with the predicted and the true label: mistakes first, at most half of the sheet.

    If there are too few right ones, mistakes fill the rest, too.

    Args:
        path: the file to write.
        images: (n, height, width), uint8 or float of any range.
        predicted: (n,) indices into `classes`.
        true: likewise.
        classes: the names of the labels.
        columns: images in a row of the sheet.
        rows: rows of the sheet at most.
    """
    from PIL import Image, ImageDraw, ImageFont

    wrong = np.flatnonzero(predicted != true)
    right = np.flatnonzero(predicted == true)
    count = min(columns * rows, len(images))
    shown_wrong = wrong[: max(count // 2, count - len(right))]
    chosen = np.concatenate([shown_wrong, right[: count - len(shown_wrong)]])

    size, pad = 84, 12
    font = ImageFont.load_default(13)
    label_height, header = 36, 46
    width = pad + columns * (size + pad)
    lines = -(-count // columns)
    sheet = Image.new("RGB", (width, header + lines * (size + label_height + pad) + pad), _PAPER)
    draw = ImageDraw.Draw(sheet)
    correct = len(right) / len(images)
    draw.text(
        (pad, 14),
        f"{len(images)} test images, {correct:.2%} right. Of {len(wrong)} mistakes these are {len(shown_wrong)}, in "
        "red: predicted, and below it the true label.",
        fill=_INK,
        font=font,
    )
    for place, i in enumerate(chosen.tolist()):
        x = pad + place % columns * (size + pad)
        y = header + place // columns * (size + label_height + pad)
        tile = Image.fromarray(_to_uint8(images[i])).resize((size, size), Image.Resampling.NEAREST)
        sheet.paste(tile, (x, y))
        good = predicted[i] == true[i]
        draw.rectangle((x - 2, y - 2, x + size + 1, y + size + 1), outline=_RIGHT if good else _WRONG, width=2)
        draw.text((x, y + size + 3), _fit(classes[predicted[i]]), fill=_RIGHT if good else _WRONG, font=font)
        if not good:
            draw.text((x, y + size + 18), f"is {_fit(classes[true[i]])}", fill=_INK, font=font)
    sheet.save(path)


def _fit(label: str) -> str:
    return label if len(label) <= 11 else label[:10] + "…"


def _to_uint8(image: HostArray) -> HostArray:
    low, high = float(image.min()), float(image.max())
    return ((image.astype(np.float64) - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
