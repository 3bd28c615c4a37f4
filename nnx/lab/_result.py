"""What an experiment gives: its data, a figure that explains itself, a table for other programs, and words."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .. import plotting
from ..checkpoint import write_atomically
from ..checks import check_path
from ..errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Result:
    """Base of the experiments' results: dataclasses that hold the data."""

    name: ClassVar[str]
    """The experiment's, and that of its files."""

    def summary(self) -> str:
        """What is to be seen, with its numbers: a few lines for a terminal."""
        raise NotImplementedError(f"{type(self).__name__} must define summary()")

    def table(self) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """The names of the columns, and the rows: one observation each."""
        raise NotImplementedError(f"{type(self).__name__} must define table()")

    def draw(self) -> "Figure":
        """The figure, made under `plotting.style`."""
        raise NotImplementedError(f"{type(self).__name__} must define draw()")

    def draw_parts(self) -> "dict[str, Figure]":
        """Further figures by name, where one does not hold all that is to be seen; made under `plotting.style`."""
        return {}

    def plot(self) -> "Figure":
        """The figure (matplotlib's), which a notebook shows. Raises `InputError` without matplotlib."""
        with plotting.style():
            return self.draw()

    def figures(self) -> "dict[str, Figure]":
        """All figures by name: that of `plot`, under the experiment's, and the further ones."""
        with plotting.style():
            return {self.name: self.draw(), **self.draw_parts()}

    def save(self, folder: "str | os.PathLike[str]" = ".") -> list[Path]:
        """Write NAME.csv and NAME.png into a folder, which is made if need be; returns their paths.

        Further figures go to NAME-PART.png. Without matplotlib the figures are left out, and their paths with them.
        """
        folder = check_path("folder", folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made a folder ({error.strerror}); pass another.") from None
        written = [folder / f"{self.name}.csv"]
        write_csv(written[0], *self.table())
        if plotting.available():
            for part, figure in self.figures().items():
                written.append(folder / (f"{self.name}.png" if part == self.name else f"{self.name}-{part}.png"))
                plotting.save(figure, written[-1])
        return written

    def __str__(self) -> str:
        return self.summary()


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table as a file, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
