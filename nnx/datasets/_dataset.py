"""A data set: inputs as they are stored, their scale, and labels with the names of the classes, or numbers."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._support.checks import as_host, check_dtype, check_labels, check_number
from ..errors import DatasetError, InputError
from ..ops import HostArray
from ._pictures import as_pictures
from ._preparation import Preparation
from ._prepare import split_rows


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Labelled inputs.

    Args:
        name: for messages.
        x: (n, ...) uint8 or floats, n > 0, all finite.
        t: (n,) integer labels, kept as int64; or (n,) floats to be predicted, all finite.
        scale: what x is multiplied by to become the network's input, greater than 0.
        classes: the names of the labels 0, 1, ...; none for floats.
        note: what became of the inputs when they were read, for people: "resized to 32 x 32 from ...".
        preparation: how x and t were made of a table's columns; None for what is no table.

    Raises:
        DatasetError: the parts do not make a data set.
        InputError: a label or the scale is out of range.
        InputTypeError: the labels are not integers, or a part is no array of numbers.
    """

    name: str
    x: HostArray
    t: HostArray
    scale: float
    classes: tuple[str, ...]
    note: str = ""
    preparation: Preparation | None = None

    def __post_init__(self) -> None:
        x, t = as_host("x", self.x), as_host("t", self.t)
        if x.ndim < 2 or t.shape != x.shape[:1]:
            raise DatasetError(
                f"{self.name}: got inputs of shape {x.shape} and labels of {t.shape}, expected (n, ...) and (n,)."
            )
        if len(x) == 0:
            raise DatasetError(f"{self.name}: holds no rows, expected at least one.")
        if x.dtype != np.uint8 and x.dtype.kind != "f":
            raise DatasetError(f"{self.name}: got inputs of dtype {x.dtype}, expected uint8 or floats.")
        if x.dtype.kind == "f" and not (finite := np.isfinite(x.reshape(len(x), -1)).all(axis=1)).all():
            raise DatasetError(
                f"{self.name}: got NaN or infinite values in {np.sum(~finite)} of {len(x)} rows, the first being row "
                f"{np.argmin(finite)}; clean the data, or leave these rows out."
            )
        if not self.classes and t.dtype.kind != "f":
            raise DatasetError(f"{self.name}: got no names of classes, expected one for each label.")
        values = {
            "x": x,
            "t": check_labels("t", t, len(self.classes)) if self.classes else _check_numbers(self.name, t),
            "scale": check_number("scale", self.scale, 0, above=True),
            "classes": tuple(self.classes),
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the inputs of one row."""
        return self.x.shape[1:]

    def targets(self) -> HostArray:
        """Return t."""
        return self.t

    def __repr__(self) -> str:
        shape = ", ".join(map(str, self.x.shape[1:]))
        note = f"; {self.note}" if self.note else ""
        classes = f"{len(self.classes)} classes" if self.classes else "numbers to be predicted"
        return f"<Dataset {self.name}: {len(self)} x ({shape}) {self.x.dtype}, {classes}{note}>"

    def inputs(self, dtype: str = "float32") -> HostArray:
        """Return x times scale in a floating dtype, "float32" or "float64"."""
        dtype = check_dtype(dtype)
        scaled: HostArray = np.multiply(self.x, np.array(self.scale, dtype), dtype=dtype)
        return scaled

    def pictures(self) -> "Dataset":
        """Return the data with inputs (n, channels, height, width), as layers of pictures take them.

        Grey pictures, (n, height, width), get one channel. Of (n, height, width, channels) the last axis becomes the
        second one if it is 1, 3 or 4 and the second is not. Others with four axes stay as they are.

        Raises:
            InputError: the inputs are no pictures.
        """
        return replace(self, x=as_pictures(self.name, self.x))

    def take(self, rows: Any) -> "Dataset":
        """Return the rows of these numbers, (m,) integers in 0..n-1, as a data set of its own."""
        index = as_host("rows", rows)
        if index.ndim != 1 or index.dtype.kind not in "iu" or (index.size and not _within(index, len(self))):
            raise InputError(f"rows: expected row numbers in 0..{len(self) - 1}, one dimension of integers.")
        return replace(self, x=self.x[index], t=self.t[index])

    def split(self, *fractions: float, seed: int = 0) -> tuple["Dataset", ...]:
        """Split the rows at random: `train, test = data.split(0.8, 0.2)`.

        Args:
            *fractions: the share of each part, greater than 0, in all 1.
            seed: decides which rows go where.

        Raises:
            InputError: the fractions do not fit, or a part would be empty.
        """
        return tuple(self.take(rows) for rows in split_rows(len(self), fractions, seed))


def _check_numbers(name: str, t: HostArray) -> HostArray:
    """Return numbers to be predicted as float64."""
    if not np.isfinite(t).all():
        raise DatasetError(
            f"{name}: got NaN or infinity to be predicted in row {np.argmin(np.isfinite(t))}; remove it."
        )
    return t.astype(np.float64)


def _within(index: HostArray, n: int) -> bool:
    return bool(index.min() >= 0 and index.max() < n)
