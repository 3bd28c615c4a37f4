"""The look of figures: told apart without colour and by the colour-blind, legible in print and on a dark screen.

Everything is drawn in a handful of named inks, so that a page can put others in their place (`nnx.report` does).
"""

import importlib.util
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .console import in_notebook

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
    figure = _figure(figsize=(width * columns, height * rows + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)  # a $ in a folder's name begins no formula
    return figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False, **keywords)]


_in_window: ContextVar[bool] = ContextVar("_in_window", default=False)


def _figure(**settings: Any) -> "Figure":
    """Make a figure that a notebook shows or, within `show`, one that pyplot has a window for."""
    if _in_window.get():
        from matplotlib import pyplot

        return pyplot.figure(**settings)
    return _notebook_figure()(**settings)


@cache
def _notebook_figure() -> "type[Figure]":
    """Return a class of figures that notebooks show by themselves: matplotlib's need `%matplotlib inline` first."""
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        def _repr_png_(self) -> bytes:
            return png(self)

    return NotebookFigure


def show(draw: "Callable[[], Figure]") -> None:
    """Draw a figure in a window, and wait until it is closed; in a notebook, show it there.

    Raises:
        InputError: matplotlib is not installed, or can open no window here.
    """
    with style():
        if in_notebook():
            from IPython.display import display

            display(draw())
            return
        from matplotlib import get_backend, pyplot

        if get_backend().lower() in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template"):
            raise InputError(
                f"no window can be opened here (matplotlib's backend is {get_backend()}); save(folder) writes files."
            )
        token = _in_window.set(True)
        try:
            draw()
        finally:
            _in_window.reset(token)
        pyplot.show()


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


def png(figure: "Figure") -> bytes:
    """Return a figure as a PNG file."""
    with style(), io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=100)
        return file.getvalue()


def save(figure: "Figure", path: Path) -> None:
    """Write a figure to a file, in the format of the name's ending."""
    with style():
        figure.savefig(path, dpi=130)
