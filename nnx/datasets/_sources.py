"""Where the rows of a data set on the disk come from: arrays, Parquet, image files, other libraries' data sets."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .._support import frames
from .._support.checks import as_array, as_host
from ..errors import DatasetError, InputError, InputTypeError, unknown
from ..ops import HostArray
from ._images import Size, read_image
from ._preparation import LABELS, Preparation
from ._stored import FileArray, StoredArray
from ._table import Table, as_column

_IMAGES = ("image", "images", "img", "pixel_values", "x", "inputs", "features", "data")
"""Names of a column that is all of the inputs."""


class Source(Protocol):
    """Inputs and their targets, read by ranges of rows."""

    shape: tuple[int, ...]
    """Of the inputs of one row."""
    dtype: "np.dtype[Any]"
    """Of the inputs."""
    edges: HostArray | None
    """(k + 1,), where the file is cut into pieces that are read as a whole; None if any rows can be read."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def read(self, begin: int, end: int, out: HostArray | None = None) -> tuple[HostArray, HostArray]:
        """Return inputs and targets of the rows begin, ..., end - 1.

        Args:
            begin: the first one.
            end: behind the last one.
            out: (end - begin, *shape) of the inputs' dtype, C-contiguous: they are written there.
        """


class Arrays:
    """An array of inputs, and one of targets.

    Args:
        x: (n, ...).
        t: (n, ...); of (n, 1) the column.
        name: for messages.

    Raises:
        DatasetError: they make no data set.
    """

    edges: HostArray | None = None

    def __init__(self, x: StoredArray, t: StoredArray, name: str) -> None:
        if len(x.shape) < 2 or len(t.shape) < 1 or x.shape[0] != t.shape[0] or not x.shape[0]:
            raise DatasetError(
                f"{name}: got inputs of shape {x.shape} and targets of {t.shape}, expected as many rows of both, "
                "(n, ...) and (n,) or (n, c), with n > 0."
            )
        if x.dtype.kind not in "fiub":
            raise DatasetError(f"{name}: got inputs of dtype {x.dtype}, expected numbers.")
        self._x, self._t = x, t
        self.shape, self.dtype = x.shape[1:], x.dtype

    def __len__(self) -> int:
        return self._x.shape[0]

    def read(self, begin: int, end: int, out: HostArray | None = None) -> tuple[HostArray, HostArray]:
        """Return inputs and targets of the rows begin, ..., end - 1; the inputs in `out`, if that is given."""
        t = self._t.read(begin, end)
        return self._x.read(begin, end, out), t[:, 0] if t.shape[1:] == (1,) else t

    def expect(self, begin: int, end: int) -> None:
        """Let the system begin to read these rows."""
        if isinstance(self._x, FileArray):
            self._x.expect(begin, end)

    def targets(self, begin: int, end: int) -> HostArray:
        """Return the targets alone."""
        t = self._t.read(begin, end)
        return t[:, 0] if t.shape[1:] == (1,) else t


class ImageFiles:
    """Pictures from image files, which are decoded at each read.

    Args:
        files: (n,) of them.
        t: (n,) labels.
        size: (height, width) to which they are resized.
        channels: 1 or 3.
    """

    dtype = np.dtype(np.uint8)
    edges: HostArray | None = None

    def __init__(self, files: Sequence[Path], t: HostArray, size: Size, channels: int) -> None:
        self._files, self._t, self._size, self._channels = files, t, size, channels
        self.shape = (*size, *([] if channels == 1 else [3]))

    def __len__(self) -> int:
        return len(self._files)

    def read(self, begin: int, end: int, out: HostArray | None = None) -> tuple[HostArray, HostArray]:
        """Return inputs and targets of the rows begin, ..., end - 1; the inputs in `out`, if that is given."""
        x = np.empty((end - begin, *self.shape), np.uint8) if out is None else out
        for place, file in enumerate(self._files[begin:end]):
            x[place] = read_image(file, self._channels, self._size)[0]
        return x, self._t[begin:end]


class Samples:
    """A data set of another library, as PyTorch has them: `len(data)`, and `data[i]` is a pair (x, t).

    Args:
        data: the data set; its `__getitems__`, where it has one, gives several rows at once.

    Raises:
        InputTypeError: its first row is no pair.
    """

    edges: HostArray | None = None

    def __init__(self, data: Any) -> None:
        self._data, self._many = data, getattr(data, "__getitems__", None)
        first = self._pair(0, data[0]) if len(data) else None
        if first is None:
            raise DatasetError(f"{type(data).__name__}: holds no rows, expected at least one.")
        self.shape, self.dtype = first[0].shape, first[0].dtype

    def __len__(self) -> int:
        return len(self._data)

    def read(self, begin: int, end: int, out: HostArray | None = None) -> tuple[HostArray, HostArray]:
        """Return inputs and targets of the rows begin, ..., end - 1; the inputs in `out`, if that is given."""
        numbers = list(range(begin, end))
        rows = [self._data[i] for i in numbers] if self._many is None else self._many(numbers)
        x = np.empty((end - begin, *self.shape), self.dtype) if out is None else out
        targets = []
        for place, row in enumerate(rows):
            inputs, target = self._pair(begin + place, row)
            if inputs.shape != self.shape:
                raise DatasetError(
                    f"row {begin + place}: has the shape {inputs.shape}, expected {self.shape} as row 0."
                )
            x[place] = inputs
            targets.append(target)
        return x, np.stack(targets)

    def _pair(self, number: int, row: Any) -> tuple[HostArray, HostArray]:
        if not isinstance(row, tuple | list) or len(row) != 2:
            raise InputTypeError(
                f"row {number}: got {type(row).__name__}, expected a pair (x, t) from the data set's __getitem__."
            )
        return as_host(f"x of row {number}", row[0]), as_array(f"t of row {number}", row[1])


class Columns:
    """A data set of another library, as Hugging Face has them: `column_names`, and `data[i:j]` are lists by name.

    Args:
        data: the data set.
        inputs: the columns of the inputs; default one called image, img, pixel_values, x, features and the like, else
            all but the label.
        label: the column of the targets; default the one called label, target, class, species or y.

    Raises:
        InputError: there are no such columns.
    """

    edges: HostArray | None = None

    def __init__(self, data: Any, inputs: Sequence[str], label: str) -> None:
        names = list(data.column_names)
        self._data, self._label = data, _label(type(data).__name__, names, label)
        self._inputs = _inputs(type(data).__name__, names, inputs, self._label)
        if not len(data):
            raise DatasetError(f"{type(data).__name__}: holds no rows, expected at least one.")
        first = self._stack(data[0:1])
        self.shape, self.dtype = first.shape[1:], first.dtype
        features = getattr(data, "features", None) or {}
        self.classes: tuple[str, ...] = tuple(getattr(features.get(self._label), "names", None) or ())

    def __len__(self) -> int:
        return len(self._data)

    def read(self, begin: int, end: int, out: HostArray | None = None) -> tuple[HostArray, HostArray]:
        """Return inputs and targets of the rows begin, ..., end - 1; the inputs in `out`, if that is given."""
        rows = self._data[begin:end]
        x = self._stack(rows)
        if x.shape[1:] != self.shape:
            raise DatasetError(
                f"rows {begin} to {end - 1}: have the shape {x.shape[1:]}, expected {self.shape} as row 0."
            )
        if out is not None:
            out[...] = x
            x = out
        return x, as_array("t", rows[self._label])

    def _stack(self, rows: Mapping[str, Any]) -> HostArray:
        found = [np.stack([as_host(name, value) for value in rows[name]]) for name in self._inputs]
        return found[0] if len(found) == 1 and found[0].ndim > 1 else np.stack(found, axis=1)


class ParquetRows:
    """The rows of a Parquet file, which is read by its row groups.

    Args:
        path: the file.
        inputs: the columns of the inputs, numbers each, or one of lists of numbers; default all but the label.
        label: the column of the targets; default the one called label, target, class, species or y.
        preparation: makes inputs and targets of the columns, in place of these.

    Raises:
        DatasetError: the file is damaged, or a column holds no numbers.
        InputError: pyarrow is not installed, or there is no such column.
    """

    def __init__(
        self, path: Path, inputs: Sequence[str] = (), label: str = "", preparation: Preparation | None = None
    ) -> None:
        self._path, self._preparation = path, preparation
        self._file = open_parquet(path, path)
        groups = self._file.metadata.num_row_groups
        self.edges = np.cumsum([0, *(self._file.metadata.row_group(i).num_rows for i in range(groups))])
        if not self.edges[-1]:
            raise DatasetError(f"{path}: holds no rows, expected at least one.")
        names = list(self._file.schema_arrow.names)
        if preparation is None:
            self.label = _label(str(path), names, label)
            self.columns = _inputs(str(path), names, inputs, self.label)
        else:
            self.label, self.columns = preparation.label, [column.name for column in preparation.columns]
        self._last: tuple[int, HostArray, HostArray] | None = None
        first, _ = self._group(0)
        self.shape, self.dtype = first.shape[1:], first.dtype

    def __len__(self) -> int:
        return int(self.edges[-1])

    def read(self, begin: int, end: int, out: HostArray | None = None) -> tuple[HostArray, HostArray]:
        """Return inputs and targets of the rows begin, ..., end - 1; the inputs in `out`, if that is given."""
        x = np.empty((end - begin, *self.shape), self.dtype) if out is None else out
        targets = []
        for group in range(int(np.searchsorted(self.edges, begin, "right")) - 1, len(self.edges) - 1):
            first = int(self.edges[group])
            if first >= end:
                break
            inputs, t = self._group(group)
            low, high = max(begin - first, 0), min(end - first, len(t))
            x[first + low - begin : first + high - begin] = inputs[low:high]
            targets.append(t[low:high])
        return x, targets[0] if len(targets) == 1 else np.concatenate(targets)

    def targets(self, begin: int, end: int) -> HostArray:
        """Return the targets alone."""
        if self._preparation is not None:
            return self.read(begin, end)[1]
        groups = range(
            int(np.searchsorted(self.edges, begin, "right")) - 1, int(np.searchsorted(self.edges, end, "left"))
        )
        found = np.concatenate([self._target(self._table(group, [self.label])) for group in groups])
        first = int(self.edges[groups[0]])
        return found[begin - first : end - first]

    def _group(self, number: int) -> tuple[HostArray, HostArray]:
        """Return inputs and targets of a row group; the last one is remembered."""
        if self._last is None or self._last[0] != number:
            table = self._table(number, [*self.columns, self.label])
            if self._preparation is None:
                self._last = number, self._inputs(table), self._target(table)
            else:
                found = {column.name: as_column(str(self._path), column) for column in frames.columns(table)}
                whole = Table(str(self._path), found)
                self._last = number, self._preparation.inputs(whole), self._preparation.targets(whole)
        return self._last[1], self._last[2]

    def _table(self, group: int, columns: list[str]) -> Any:
        import pyarrow

        try:
            return self._file.read_row_group(group, columns=columns)
        except (pyarrow.ArrowException, OSError) as error:
            raise DatasetError(
                f"{self._path}: row group {group} cannot be read ({error}); use another copy."
            ) from error

    def _inputs(self, table: Any) -> HostArray:
        found = [self._numbers(name, table[name]) for name in self.columns]
        return found[0] if len(found) == 1 and found[0].ndim > 1 else np.stack(found, axis=1)

    def _numbers(self, name: str, column: Any) -> HostArray:
        if hasattr(column.type, "value_type"):  # lists
            flat = np.asarray(column.combine_chunks().flatten())
            if len(column) and len(flat) % len(column) == 0:
                return flat.reshape(len(column), -1)
            raise DatasetError(f"{self._path}: column {name!r} holds lists of several lengths, expected one length.")
        found = frames.column(name, column)
        if found.kind != "numbers":
            raise DatasetError(
                f"{self._path}: column {name!r} holds {found.kind}, such as {found.example[:40]!r}, expected numbers; "
                "name the columns of the inputs, inputs=[...], or train by nnx train --from-disk, which makes numbers "
                "of categories."
            )
        return found.values

    def _target(self, table: Any) -> HostArray:
        found = frames.column(self.label, table[self.label])
        if found.missing:
            raise DatasetError(
                f"{self._path}: the label {self.label!r} is missing in {found.missing} rows; remove them."
            )
        return found.values


def open_parquet(path: Path | None, name: Path) -> Any:
    """Return pyarrow's file, or None without a path; raise if pyarrow is not installed, or the file is damaged.

    Args:
        path: the file.
        name: what is told in messages.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"{name}: Parquet needs pyarrow; pip install 'nnx-array[tables]'.")
    import pyarrow
    from pyarrow import parquet

    try:
        return None if path is None else parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: is no Parquet file that pyarrow can read ({error}); use another copy.") from error


def _label(name: str, columns: Sequence[str], label: str) -> str:
    if label:
        if label not in columns:
            raise unknown(f"column of {name}", label, columns)
        return label
    found = [column for column in columns if column.lower() in LABELS]
    if len(found) != 1:
        raise InputError(
            f"{name}: {'no column is' if not found else 'several columns are'} called label, target, class, species or "
            f"y; say which one is to be predicted, label=NAME, one of {', '.join(columns[:30])}."
        )
    return found[0]


def _inputs(name: str, columns: Sequence[str], inputs: Sequence[str], label: str) -> list[str]:
    wanted = [inputs] if isinstance(inputs, str) else list(inputs)
    for one in wanted:
        if one not in columns or one == label:
            raise unknown(f"column of {name} beside the label", one, [other for other in columns if other != label])
    if not wanted:
        others = [column for column in columns if column != label]
        named = [column for column in others if column.lower() in _IMAGES]
        wanted = named if len(named) == 1 else others
    if not wanted:
        raise DatasetError(f"{name}: has no columns beside the label {label!r}; expected some to learn from.")
    return wanted


def targets_alone(source: Source) -> Callable[[int, int], HostArray]:
    """Return what reads the targets of a range of rows, without the inputs where that is less work."""
    alone: Callable[[int, int], HostArray] | None = getattr(source, "targets", None)
    return (lambda begin, end: source.read(begin, end)[1]) if alone is None else alone
