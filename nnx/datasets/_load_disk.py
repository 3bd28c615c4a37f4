"""A data set on the disk in parts to train on, to validate and to test, prepared as `load` prepares one in memory."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._support import frames
from .._support.checks import check_seed
from ..errors import DatasetError, InputError
from ..ops import HostArray
from ._disk import DiskDataset, on_disk, parts_of
from ._images import Size, holds_images
from ._load import Splits
from ._preparation import AS_CLASSES, Column, Preparation, label_classes, prepare
from ._sources import Source, open_parquet, targets_alone
from ._table import PARQUET, Table, as_column

_SHARES = (0.72, 0.08, 0.2)
"""To train on, to validate and to test, as `load` divides rows."""
_ROWS = 10_000  # that stand for all, in figures and reports


class DiskSplits(NamedTuple):
    """The parts of a data set on the disk."""

    train: DiskDataset
    validation: DiskDataset
    test: DiskDataset

    def pictures(self) -> "DiskSplits":
        """Return the parts with inputs (n, channels, height, width); see `Dataset.pictures`."""
        return DiskSplits(*(part.pictures() for part in self))

    def sample(self) -> Splits:
        """Return some rows of each part, evenly chosen, in memory."""
        return Splits(*(part.sample(_ROWS) for part in self))


def load_on_disk(
    name: "str | os.PathLike[str]",
    *,
    seed: int = 0,
    size: Size | None = None,
    label: str = "",
    categories: Sequence[str] = (),
    fill: "str | float | None" = None,
    drop: Sequence[str] = (),
    loss: str = "",
    preparation: Preparation | None = None,
) -> DiskSplits:
    """Load a data set in parts as `load` does, but leave its rows on the disk.

    Parts that the file does not have are drawn piece by piece, see `DiskDataset.split`. What has to be known of all
    rows is found in a pass over them: the classes, and of columns of numbers mean and standard deviation, those of the
    part to train on. Of Parquet one column at a time is in memory for it.

    Args:
        name: a file or folder as for `on_disk`.
        seed: decides which rows go where.
        size: as for `load`.
        label: likewise, of Parquet.
        categories: likewise.
        fill: likewise.
        drop: likewise.
        loss: likewise.
        preparation: likewise.

    Raises:
        DatasetError: the file is damaged, a column holds no numbers, or values are missing.
        InputError: there is no such file, or a setting does not fit it.
    """
    path, seed = Path(name), check_seed(seed)
    settings: dict[str, Any] = {"label": label, "categories": categories, "fill": fill, "drop": drop, "loss": loss}
    if path.suffix in PARQUET:
        return _parquet(path, seed, settings, preparation)
    if given := [setting for setting in ("label", "categories", "fill", "drop") if settings[setting]]:
        raise InputError(f"{given[0]}: got {settings[given[0]]!r}, but {name} has no columns by name; leave it out.")
    parts = {"train": on_disk(path, size=size)}
    for part in ("validation", "test"):
        try:
            parts[part] = on_disk(path, part=part, size=size)
        except DatasetError as error:
            if "expected, for the part" not in str(error) and "has no part" not in str(error):
                raise
    if not holds_images(path):
        preparation = _of_arrays(str(path), parts, seed, loss) if preparation is None else preparation
        parts = {part: _prepared(data, preparation) for part, data in parts.items()}
    elif loss not in ("", *AS_CLASSES):
        raise InputError(f"loss: got {loss!r}, but {name} has folders of classes; leave it out.")
    return _divided(parts, seed)


def _divided(parts: Mapping[str, DiskDataset], seed: int) -> DiskSplits:
    """Return the parts, those that are not there drawn from the part to train on."""
    train, rest = parts["train"], {part: data for part, data in parts.items() if part != "train"}
    if not rest:
        return DiskSplits(*train.split(*_SHARES, seed=seed))
    if "validation" not in rest:
        train, rest["validation"] = train.split(0.9, 0.1, seed=seed)
    elif "test" not in rest:
        train, rest["test"] = train.split(0.8, 0.2, seed=seed)
    return DiskSplits(train, rest["validation"], rest["test"])


# Arrays ---------------------------------------------------------------------------------------------------------------


def _of_arrays(name: str, parts: Mapping[str, DiskDataset], seed: int, loss: str) -> Preparation:
    """Find the classes of the labels, and mean and deviation of columns (n, c) of other numbers than bytes."""
    train = parts["train"]
    t = np.concatenate([data.targets() for data in parts.values()])
    t = np.array(train.classes)[t] if train.classes else t
    if t.ndim != 1:
        raise DatasetError(f"{name}: has labels of shape {t.shape}, expected (n,); several are trained on from Python.")
    columns = len(train.shape) == 1 and train.dtype != np.uint8
    table = Table(name, {"y": as_column(name, frames.column("y", t))})
    classes = label_classes(table, "y", loss or ("" if columns else AS_CLASSES[0]))
    own = _divided(parts, seed).train
    mean, std = _moments(name, own) if columns else (np.zeros(0), np.ones(0))
    target = (0.0, 1.0)
    if not classes:
        numbers = own.targets().astype(np.float64)
        target = float(numbers.mean()), float(numbers.std()) or 1.0
    found = tuple(Column(str(i), (), *pair) for i, pair in enumerate(zip(mean.tolist(), std.tolist(), strict=True)))
    return Preparation("y", found, classes, target)


def _moments(name: str, data: DiskDataset) -> tuple[HostArray, HostArray]:
    """Return mean and standard deviation of each column, joined as Chan, Golub and LeVeque (1983) do it."""
    rows, mean, squares = 0, np.zeros(data.shape), np.zeros(data.shape)
    for begin, end in data.steps():
        x = data.read(begin, end)[0].astype(np.float64)
        if not np.isfinite(x).all():
            row, column = np.argwhere(~np.isfinite(x))[0]
            raise DatasetError(
                f"{name}: has NaN or infinity in column {column}, first in row {data.rows()[begin + row]}; clean the "
                "data, or leave these rows out."
            )
        new, count = x.mean(axis=0), len(x)
        away, all_rows = new - mean, rows + count
        squares += ((x - new) ** 2).sum(axis=0) + away**2 * (rows * count / all_rows)
        mean, rows = mean + away * (count / all_rows), all_rows
    std = np.sqrt(squares / rows)
    return mean, np.where(std > 1e-12 * np.maximum(1.0, np.abs(mean)), std, 1.0)


def _prepared(data: DiskDataset, preparation: Preparation) -> DiskDataset:
    return data.through(lambda source: _Prepared(data.name, source, preparation), preparation)


class _Prepared:
    """Rows with inputs and targets as a preparation makes them of arrays."""

    def __init__(self, name: str, source: Source, preparation: Preparation) -> None:
        self._name, self._source, self._classes, self._target = name, source, preparation.classes, preparation.target
        self._mean = np.array([column.mean for column in preparation.columns])
        self._std = np.array([column.std for column in preparation.columns])
        self.edges, self.shape = source.edges, source.shape
        self.expect = getattr(source, "expect", lambda begin, end: None)
        self.dtype = np.dtype(np.float64) if preparation.columns else source.dtype

    def __len__(self) -> int:
        return len(self._source)

    def read(self, begin: int, end: int, out: HostArray | None = None) -> tuple[HostArray, HostArray]:
        """Return inputs and targets of the rows begin, ..., end - 1; the inputs in `out`, if that is given."""
        if not len(self._mean):
            x, t = self._source.read(begin, end, out)
            return x, self._targets(begin, t)
        x, t = self._source.read(begin, end)
        x = np.subtract(x, self._mean, out=out, dtype=np.float64)
        x /= self._std
        return x, self._targets(begin, t)

    def targets(self, begin: int, end: int) -> HostArray:
        """Return the targets alone."""
        return self._targets(begin, targets_alone(self._source)(begin, end))

    def _targets(self, begin: int, t: HostArray) -> HostArray:
        t = t.astype(str) if t.dtype.kind == "b" else t
        if not self._classes:
            return (t.astype(np.float64) - self._target[0]) / self._target[1]
        known = np.array(self._classes if t.dtype.kind in "OUS" else [float(name) for name in self._classes])
        order = np.argsort(known)
        places = order[np.minimum(np.searchsorted(known[order], t), len(known) - 1)]
        if (wrong := known[places] != t).any():
            row = int(np.argmax(wrong))
            raise DatasetError(
                f"{self._name}: has the label {t[row]!r} in row {begin + row}, which is none of the classes."
            )
        return places.astype(np.int64)


# Parquet --------------------------------------------------------------------------------------------------------------


def _parquet(path: Path, seed: int, settings: dict[str, Any], preparation: Preparation | None) -> DiskSplits:
    file = open_parquet(path, path)
    groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    edges = np.cumsum([0, *groups])
    pieces = np.stack([edges[:-1], edges[1:]], axis=1)
    if preparation is None:
        train = parts_of(str(path), pieces, _SHARES, seed, grouped=True)[0]
        rows = np.concatenate([np.arange(begin, end) for begin, end in train.tolist()])
        preparation = prepare(Table(str(path), _LazyColumns(path, file)), rows, **settings)
    whole = on_disk(path, preparation=preparation)
    return DiskSplits(*whole.split(*_SHARES, seed=seed))


class _LazyColumns(Mapping[str, HostArray]):
    """A Parquet file's columns as a `Table` has them, each read when it is asked for; the last one is remembered."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        self._names = list(file.schema_arrow.names)
        self._last: tuple[str, HostArray] | None = None

    def __getitem__(self, name: str) -> HostArray:
        if name not in self._names:
            raise KeyError(name)
        if self._last is None or self._last[0] != name:
            column = frames.column(name, self._file.read(columns=[name])[name])
            self._last = name, as_column(str(self._path), column)
        return self._last[1]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
