"""The base of experiments' results: data, a figure that explains itself, a table for other programs, and a summary."""

import base64
import csv
import html
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from . import plots as plotting
from .checks import check_path
from .console import fitted
from .files import make_folder, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Table: TypeAlias = tuple[Sequence[str], Iterable[Sequence[Any]]]
"""The names of the columns, and the rows: one observation each."""


class Result:
    """Base of the experiments' results: dataclasses that hold the data."""

    name: ClassVar[str]
    """The experiment's, and that of its files."""

    def summary(self) -> str:
        """Describe what is to be seen, with its numbers, in a few lines for a terminal."""
        raise NotImplementedError(f"{type(self).__name__} must define summary()")

    def table(self) -> Table:
        """Return the names of the columns, and the rows: one observation each."""
        raise NotImplementedError(f"{type(self).__name__} must define table()")

    def tables(self) -> dict[str, Table]:
        """Return every table by the name of its file: one, unless observations of several kinds belong together."""
        return {self.name: self.table()}

    def draw(self) -> "Figure":
        """Draw the figure; called within `plotting.style`."""
        raise NotImplementedError(f"{type(self).__name__} must define draw()")

    def draw_parts(self) -> "dict[str, Figure]":
        """Draw further figures, by name, where one does not show everything; called within `plotting.style`."""
        return {}

    def plot(self) -> "Figure":
        """Return the matplotlib figure, which a notebook shows. Raises `InputError` without matplotlib."""
        with plotting.style():
            return self.draw()

    def show(self) -> None:
        """Show the figure in a window, and wait until it is closed; in a notebook, show it there.

        Raises:
            InputError: matplotlib is not installed, or can open no window here.
        """
        plotting.show(self.draw)

    def figures(self) -> "dict[str, Figure]":
        """Return all figures by the names of their files: the one of `plot`, and the further ones."""
        with plotting.style():
            parts = {f"{self.name}-{part}": figure for part, figure in self.draw_parts().items()}
            return {self.name: self.draw(), **parts}

    def save(self, folder: "str | os.PathLike[str]" = ".") -> list[Path]:
        """Write NAME.csv, NAME.png, and further tables and figures into a folder, made if it does not exist.

        Args:
            folder: where to; by default the current folder.

        Returns:
            The paths of the files. Without matplotlib the figures are left out.

        Raises:
            InputError: the folder cannot be made.
        """
        folder = check_path("folder", folder)
        make_folder(folder)
        written = []
        for name, (columns, rows) in self.tables().items():
            written.append(folder / f"{name}.csv")
            write_csv(written[-1], columns, rows)
        if plotting.available():
            for name, figure in self.figures().items():
                written.append(folder / f"{name}.png")
                plotting.save(figure, written[-1])
        return written

    def __str__(self) -> str:
        return fitted(self.summary())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the summary and, with matplotlib, the figure below it."""
        # Its tables are aligned by blanks, which Jupyter's own style would not keep.
        text = f'<pre style="font-family: monospace">{html.escape(str(self))}</pre>'
        if not plotting.available():
            return text
        picture = base64.b64encode(plotting.png(self.plot())).decode()
        return f'{text}<img src="data:image/png;base64,{picture}" style="max-width: 100%" alt="{self.name}">'


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table to a file, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
