"""A data set by name or folder, in parts to train on, to validate and to test."""

import os
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .._support.checks import as_host, check_seed
from .._support.labels import numbered
from ..errors import DatasetError, InputTypeError, unknown
from ._dataset import Dataset
from ._digits import digits
from ._download import fashion_mnist, mnist
from ._folder import folder, idx_files, refuse_size
from ._images import PARTS, Size, holds_images

NAMES = ("digits", "mnist", "fashion_mnist")


class Splits(NamedTuple):
    """The parts of a data set: choose on `validation`, look at `test` once."""

    train: Dataset
    validation: Dataset
    test: Dataset

    def pictures(self) -> "Splits":
        """Return the parts with inputs (n, channels, height, width); see `Dataset.pictures`."""
        return Splits(*(part.pictures() for part in self))


Data: TypeAlias = "str | os.PathLike[str] | Dataset | Splits | tuple[Any, Any]"
"""The name of a data set or a folder, as `load` takes it, a `Dataset`, `Splits`, or a pair (x, t)."""


def load(name: "str | os.PathLike[str]", *, seed: int = 0, size: Size | None = None) -> Splits:
    """Load a data set in parts, by its name or from a folder of idx files or image files.

    If it has no test part, a random fifth of the rows becomes one; a tenth of the rest is for validation.

    Args:
        name: "digits", "mnist", "fashion_mnist", or a folder as `folder` reads it.
        seed: decides which rows go where.
        size: (height, width) in pixels to which pictures from image files are resized; default: their own, or, where
            they differ, the median height and width, made smaller to 64 at most.

    Raises:
        DatasetError: there are fewer than ten rows (eight beside a test part), or files are missing or damaged.
        InputError: there is no data set or folder of that name, or a size is given for one without image files.
    """
    if not isinstance(name, str | os.PathLike):
        raise InputTypeError(f"name: got {name!r}, expected a data set's name or a folder.")
    check_seed(seed)
    if name in NAMES:
        refuse_size(name, size)
    if name == "digits":
        return _split(digits(), seed)
    if name == "mnist":
        return _parts(mnist("train"), mnist("test"), seed)
    if name == "fashion_mnist":
        return _parts(fashion_mnist("train"), fashion_mnist("test"), seed)
    if Path(name).is_dir():
        parts = folder(name, size)
        if len(parts) == 2:
            return _parts(parts["train"], parts["test"], seed)
        return _split(next(iter(parts.values())), seed)
    raise unknown("data set", name, [*NAMES, "a folder of idx files or image files"])


def reads_images(name: "str | os.PathLike[str]") -> bool:
    """Return whether `load` reads image files for this name: it is a folder that has them, and no idx files.

    Args:
        name: as for `load`.
    """
    if name in NAMES or not Path(name).is_dir():
        return False
    idx = (file for part in PARTS for file in idx_files(Path(name), part))
    return not any(idx) and holds_images(Path(name))


def as_splits(data: Data, seed: int = 0) -> Splits:
    """Return the parts to train on, to validate and to test, in whatever form the data are given.

    Args:
        data: the name of a data set or a folder, as for `load`; `Splits`; or a `Dataset` or a pair, x: (n, ...) numbers
            taken as they are and t: (n,) labels, integers or names, split as `load` does it.
        seed: decides which rows go where.

    Raises:
        DatasetError: there are fewer than ten rows, or a single class.
    """
    check_seed(seed)
    if isinstance(data, Splits):
        splits = data
    elif isinstance(data, str | os.PathLike):
        splits = load(data, seed=seed)
    else:
        splits = _split(data if isinstance(data, Dataset) else _from_pair(data), seed)
    if len(splits.train.classes) < 2:
        raise DatasetError(f"{splits.train.name}: has one class, expected at least two to tell apart.")
    return splits


def check_enough(name: str, rows: int, least: int = 10) -> None:
    """Raise `DatasetError` for rows too few to be split: a fifth to test, of the rest a tenth to validate.

    Args:
        name: the data set's, for the message.
        rows: how many there are.
        least: how many there must be.
    """
    if rows < least:
        raise DatasetError(
            f"{name}: holds {rows} rows, too few to be split into parts to train on, to validate and to test; expected "
            f"at least {least}."
        )


def _split(whole: Dataset, seed: int) -> Splits:
    check_enough(whole.name, len(whole))
    rest, test = whole.split(0.8, 0.2, seed=seed)
    return _parts(rest, test, seed)


def _parts(rest: Dataset, test: Dataset, seed: int) -> Splits:
    check_enough(rest.name, len(rest), 8)
    train, validation = rest.split(0.9, 0.1, seed=seed)
    return Splits(train, validation, test)


def _from_pair(data: Any) -> Dataset:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise InputTypeError(
            f"data: got {type(data).__name__}, expected a data set's name, a folder, a Dataset, Splits or a pair of "
            "arrays (x, t)."
        )
    x, (t, names) = as_host("x", data[0]), numbered("t", data[1])
    x = x if x.dtype == np.uint8 or x.dtype.kind == "f" else x.astype(np.float32)
    labels = names or (range(int(t.max()) + 1) if t.size and t.dtype.kind in "iu" else range(1))
    return Dataset("data", x, t.astype(np.int64) if names and t.ndim == 1 else t, 1.0, tuple(map(str, labels)))
