"""The look of figures: told apart without colour and by the colour-blind, legible in print and on a dark screen.

Everything is drawn in a handful of named inks, so that a page can put others in their place (`nnx.report` does).
"""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, PAPER = "#24292f", "#8c959f", "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a4fa3", "#8c5a2b", "#5c6670")
"""Okabe and Ito's palette (2008), without its yellow, which fades on white, and with violet, brown and grey."""
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 3)), (0, (5, 2, 1, 2)), (0, (3, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "d")
_SETTINGS: Any = {
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.framealpha": 0.85,
    "legend.edgecolor": FAINT,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "svg.fonttype": "none",
}


def available() -> bool:
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


@contextmanager
def style() -> Iterator[None]:
    """Apply the matplotlib settings of all figures inside a `with` block. Raises `InputError` without matplotlib."""
    if not available():
        raise InputError("a figure needs matplotlib; pip install 'nnx-array[plot]'.")
    from matplotlib import rc_context

    with rc_context(_SETTINGS):
        yield


def line(index: int) -> dict[str, Any]:
    """Return colour, dashes and marker of the index-th of several lines, as keywords of `plot`."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": _LINES[index % len(_LINES)],
        "marker": _MARKERS[index % len(_MARKERS)],
    }


def panels(
    rows: int, columns: int, title: str, *, width: float = 4.2, height: float = 3.2, **keywords: Any
) -> "tuple[Figure, list[list[Axes]]]":
    """Make a figure with a title over rows x columns axes. Call it within `style`.

    Args:
        rows: rows of axes.
        columns: columns of axes.
        title: above all of them.
        width: of one of the axes, in inches.
        height: likewise.
        **keywords: further ones of `Figure.subplots`, such as sharex.

    Returns:
        The figure, and the axes as rows.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)  # a $ in a folder's name begins no formula
    return figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False, **keywords)]


def merge(axes: "Sequence[Axes]") -> "Axes":
    """Replace several neighbouring panels, the first of them top left and the last bottom right, by one; return it."""
    first: Any = axes[0].get_subplotspec()
    last: Any = axes[-1].get_subplotspec()
    figure = axes[0].figure
    for panel in axes:
        panel.remove()
    place = first.get_gridspec()[first.rowspan.start : last.rowspan.stop, first.colspan.start : last.colspan.stop]
    merged: Axes = figure.add_subplot(place)
    return merged


def save(figure: "Figure", path: Path) -> None:
    """Write a figure to a file, in the format of the name's ending."""
    with style():
        figure.savefig(path, dpi=130)
