"""A data set that stays on the disk: its rows are read when they are trained on, a window of them at a time."""

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._support import arrays as dlpack
from .._support import frames
from .._support.checks import as_floats, check_count, check_number
from .._support.labels import Classes, numbered
from ..errors import DatasetError, InputError, InputTypeError, NnxError
from ..ops import HostArray
from ._arrays import ENDINGS as ARRAYS
from ._arrays import PARTS, inputs_and_targets
from ._dataset import Dataset
from ._images import Size, look_at_folder
from ._pictures import as_pictures
from ._preparation import Preparation
from ._prepare import split_rows
from ._sources import Arrays, Columns, ImageFiles, ParquetRows, Samples, Source, targets_alone
from ._stored import SlicedArray, stored_arrays
from ._table import PARQUET, TEXTS

_BLOCK = 1 << 22
"""Bytes that are read at once, which is nearly as fast as reading the whole file."""
_WINDOW = 1 << 28
"""Bytes of the rows that are shuffled together by default; a constant: the order is the same on every machine."""
_FILES = ".npy, .npz, .safetensors, .parquet or a folder"
_UNITS = 1000
"""Pieces into which rows are cut at least before they are split into parts."""


class DiskDataset:
    """Inputs and targets that stay where they are: on a disk, or in memory that is not to be copied.

    `Trainer.fit`, `evaluate` and `predict` take it in place of a `Dataset`. `nnx.datasets.on_disk` makes one of a file.

    Args:
        x: (n, ...), whatever has `shape`, `dtype` and slices of rows: a memory map, an array of h5py or zarr, an array
            in memory; or, without t, a data set of PyTorch's kind, of which `data[i]` is a pair (x, t), or of Hugging
            Face's kind, with `column_names`.
        t: (n,) or (n, c), likewise; labels may be texts.
        name: for messages.
        scale: what x is multiplied by to become the network's input, greater than 0.
        classes: the names of the labels 0, 1, ...; default: of texts their values, sorted, for which all are read once.
        block: rows that are read at once, of which neighbours stay neighbours until a window is shuffled; default as
            many as have 4 MiB.
        inputs: of columns by name, those of the inputs; default one called image or the like, else all but the label.
        label: of columns by name, the targets; default the one called label, target, class, species or y.
        note: what is to be told of the data, for people.
        preparation: how x and t were made of a table's columns; None for what is no table.

    Raises:
        DatasetError: the parts do not make a data set.
        InputError: a setting is out of range, or no column's name.
        InputTypeError: x or t is something else.
    """

    def __init__(
        self,
        x: Any,
        t: Any = None,
        *,
        name: str = "data",
        scale: float = 1.0,
        classes: Sequence[str] = (),
        block: int | None = None,
        inputs: Sequence[str] = (),
        label: str = "",
        note: str = "",
        preparation: Preparation | None = None,
    ) -> None:
        source = self._source = x if _is_source(x) else _source(x, t, name, inputs, label)
        self._pictures = False
        self._ranges = np.array([[0, len(source)]])
        self.name, self.note, self.preparation = name, note, preparation
        self.scale = check_number("scale", scale, 0, above=True)
        self.shape: tuple[int, ...] = source.shape
        """Of the inputs of one row."""
        self.dtype = source.dtype
        """Of the inputs as they are stored."""
        row = int(np.prod(self.shape)) * self.dtype.itemsize
        alone = isinstance(source, ImageFiles)  # files are read one by one in any case
        self.block = 1 if alone else max(1, _BLOCK // max(1, row)) if block is None else check_count("block", block)
        """Rows that are read at once."""
        self.window = max(self.block, _WINDOW // max(1, row))
        """Rows that are shuffled together, unless `fit` is told another number."""
        self.classes: Classes = tuple(classes) or getattr(source, "classes", ()) or self._named()
        """The names of the labels 0, 1, ...; () if nothing names them."""

    def _named(self) -> Classes:
        """Return the values of labels that are texts, or True and False, sorted; () for numbers."""
        read, first = targets_alone(self._source), self._source.read(0, 1)[1]
        if first.dtype.kind == "b" and first.ndim == 1:
            return False, True
        if first.dtype.kind not in "OUS" or first.ndim != 1:
            return ()
        found: set[Any] = set()
        for begin, end in self.steps():
            found.update(numbered("t", read(begin, end))[1])
        return tuple(sorted(found))

    def __len__(self) -> int:
        return int((self._ranges[:, 1] - self._ranges[:, 0]).sum())

    def __repr__(self) -> str:
        shape = ", ".join(map(str, self.shape))
        classes = f", {len(self.classes)} classes" if self.classes else ""
        note = f"; {self.note}" if self.note else ""
        return f"<DiskDataset {self.name}: {len(self)} x ({shape}) {self.dtype}{classes}{note}>"

    def edges(self) -> HostArray:
        """Return the first rows of the blocks that are read at once, and the number of rows: (k + 1,) int64."""
        found, first = [np.zeros(1, np.int64)], 0
        for begin, end in self._ranges.tolist():
            found.append(self._cuts(begin, end, self.block)[1:] - begin + first)
            first += end - begin
        return np.concatenate(found)

    def _cuts(self, begin: int, end: int, step: int) -> HostArray:
        """Return where the source's rows begin, ..., end - 1 are cut: at its own edges, or every so many rows."""
        own = self._source.edges
        inner = np.arange(begin + step, end, step) if own is None else own[(own > begin) & (own < end)]
        return np.concatenate([[begin], inner, [end]]).astype(np.int64)

    def read(self, begin: int, end: int, out: HostArray | None = None) -> tuple[HostArray, HostArray]:
        """Return inputs, as they are stored, and targets of the rows begin, ..., end - 1.

        Args:
            begin: the first one.
            end: behind the last one.
            out: (end - begin, *shape) of the stored dtype, C-contiguous: the inputs are written there.

        Raises:
            DatasetError: the file is damaged, or has become shorter.
            InputError: a label is none of the classes, or there are no such rows.
        """
        if not 0 <= begin <= end <= len(self):
            raise InputError(f"rows: got {begin} to {end}, expected a range within 0..{len(self)}.")
        x = np.empty((end - begin, *self.shape), self.dtype) if out is None else out
        targets, place = [], 0
        for low, high in self._within(begin, end):
            rows = x[place : place + high - low]
            if self._pictures:
                stored, t = self._source.read(low, high)
                rows[...] = as_pictures(self.name, stored)
            else:
                t = self._source.read(low, high, rows)[1]
            targets.append(t)
            place += high - low
        with counted_from(begin):
            return x, self._numbered(targets[0] if len(targets) == 1 else np.concatenate(targets))

    def expect(self, begin: int, end: int) -> None:
        """Let the system begin to read rows that are asked for soon, where it can be told to."""
        if (expect := getattr(self._source, "expect", None)) is not None:
            for low, high in self._within(begin, end):
                expect(low, high)

    def _numbered(self, t: HostArray) -> HostArray:
        texts = t.dtype.kind in "OUSb" and t.ndim == 1
        return numbered("t", t, self.classes)[0].astype(np.int64) if texts and self.classes else t

    def _within(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges of the source's rows that are these rows."""
        first = 0
        for low, high in self._ranges.tolist():
            a, b = max(begin - first, 0) + low, min(end - first, high - low) + low
            if a < b:
                yield a, b
            first += high - low
            if first >= end:
                return

    def rows(self) -> HostArray:
        """Return the numbers of these rows, (n,) int64, among all that are stored."""
        return np.concatenate([np.arange(begin, end) for begin, end in self._ranges.tolist()])

    def steps(self, bytes_at_once: int = 4 * _BLOCK) -> Iterator[tuple[int, int]]:
        """Yield ranges that are read one after another in a pass over all rows."""
        row = max(1, int(np.prod(self.shape)) * self.dtype.itemsize)
        least = max(self.block, bytes_at_once // row)
        edges = self.edges()
        begin = 0
        while begin < len(self):
            end = int(edges[max(np.searchsorted(edges, begin + least, "right") - 1, np.searchsorted(edges, begin) + 1)])
            yield begin, end
            begin = end

    def targets(self) -> HostArray:
        """Return all targets, (n, ...), which are read by this."""
        read = targets_alone(self._source)
        found = [read(low, high) for begin, end in self.steps() for low, high in self._within(begin, end)]
        return self._numbered(np.concatenate(found))

    def inputs(self, begin: int, end: int, dtype: str = "float32") -> HostArray:
        """Return the inputs of the rows begin, ..., end - 1, times scale, in "float32" or "float64"."""
        x = as_floats("x", self.read(begin, end)[0], dtype, first=begin)
        return x if self.scale == 1.0 else x * np.array(self.scale, dtype)

    def pictures(self) -> "DiskDataset":
        """Return the data with inputs (n, channels, height, width), as `Dataset.pictures` does.

        Raises:
            InputError: the inputs are no pictures.
        """
        shape = as_pictures(self.name, np.empty((1, *self.shape), self.dtype)).shape[1:]
        return self._changed(shape=shape, _pictures=self._pictures or shape != self.shape)

    def split(self, *fractions: float, seed: int = 0) -> tuple["DiskDataset", ...]:
        """Split the rows at random, piece by piece, so that each part can be read quickly.

        A piece is a block, or of small data less: there are at least a thousand, or as many as there are rows. Of
        Parquet it is a row group.

        Args:
            *fractions: the share of each part, greater than 0, in all 1.
            seed: decides which pieces go where.

        Raises:
            DatasetError: there are too few row groups.
            InputError: the fractions do not fit, or a part would be empty.
        """
        step = max(1, min(self.block, len(self) // _UNITS))
        cuts = [self._cuts(begin, end, step) for begin, end in self._ranges.tolist()]
        pieces = np.concatenate([np.stack([one[:-1], one[1:]], axis=1) for one in cuts])
        grouped = self._source.edges is not None
        return tuple(
            self._changed(_ranges=ranges) for ranges in parts_of(self.name, pieces, fractions, seed, grouped=grouped)
        )

    def through(self, change: Callable[[Source], Source], preparation: Preparation) -> "DiskDataset":
        """Return the data set with its rows changed as they are read.

        Args:
            change: makes the source of the changed rows, in which they have the same numbers.
            preparation: what is done to them.
        """
        source = change(self._source)
        note = "; ".join(filter(None, [self.note, preparation.told() if preparation.columns else ""]))
        return self._changed(
            _source=source,
            dtype=source.dtype,
            classes=preparation.classes,
            preparation=preparation if preparation.columns else None,
            note=note,
        )

    def sample(self, rows: int) -> Dataset:
        """Return some rows, evenly chosen, as a data set in memory.

        Args:
            rows: about how many at most; of large blocks parts are taken.
        """
        count = min(len(self), rows)
        pieces = max(1, min(count, 100))
        each = count // pieces
        begins = np.linspace(0, len(self) - each, pieces).astype(int).tolist()
        read = [self.read(begin, begin + each) for begin in begins]
        x, t = (np.concatenate(part) for part in zip(*read, strict=True))
        x = x if x.dtype == np.uint8 or x.dtype.kind == "f" else x.astype(np.float32)
        t = t if self.classes else t.astype(np.float64)
        return Dataset(self.name, x, t, self.scale, tuple(map(str, self.classes)), self.note, self.preparation)

    def _changed(self, **values: Any) -> "DiskDataset":
        made = copy.copy(self)
        vars(made).update(values)
        return made


def parts_of(
    name: str, pieces: HostArray, fractions: tuple[float, ...], seed: int, *, grouped: bool
) -> list[HostArray]:
    """Deal pieces of rows at random to parts.

    Args:
        name: for messages.
        pieces: (k, 2), the first row of each and the one behind its last.
        fractions: the share of each part, greater than 0, in all 1.
        seed: decides which pieces go where.
        grouped: whether they are row groups.

    Returns:
        The pieces of each part, (m, 2) in their order, neighbours joined.

    Raises:
        DatasetError: there are too few row groups.
        InputError: the fractions do not fit, or a part would be empty.
    """
    try:
        parts = [pieces[np.sort(rows)] for rows in split_rows(len(pieces), fractions, seed)]
    except InputError as error:
        if not grouped or "too few" not in str(error):
            raise
        raise DatasetError(
            f"{name}: has {len(pieces)} row groups, too few for parts of {fractions}; write it anew with smaller ones, "
            "by nnx shuffle."
        ) from None
    joined = []
    for part in parts:
        begins = np.flatnonzero(np.concatenate([[True], part[1:, 0] != part[:-1, 1]]))
        ends = np.concatenate([begins[1:] - 1, [len(part) - 1]])
        joined.append(np.stack([part[begins, 0], part[ends, 1]], axis=1))
    return joined


@contextmanager
def counted_from(row: int) -> Iterator[None]:
    """Say in an error's message that the rows in it are counted from this one."""
    try:
        yield
    except NnxError as error:
        raise type(error)(f"{error} (Rows are counted from row {row} here.)" if row else str(error)) from None


def on_disk(
    path: "str | os.PathLike[str]",
    *,
    part: str = "train",
    size: Size | None = None,
    inputs: Sequence[str] = (),
    label: str = "",
    block: int | None = None,
    preparation: Preparation | None = None,
) -> DiskDataset:
    """Open a data set that stays on the disk.

    Args:
        path: an .npz that is not compressed, or a .safetensors, with arrays named x and y, or x_train, y_train, x_test,
            y_test, and the like; an .npy with others of such names beside it, or their folder; a .parquet; a folder
            with a folder of image files for each class, or with folders train and test of such folders.
        part: "train", "validation" or "test", where names tell parts.
        size: as for `image_folder`.
        inputs: of Parquet, the columns of the inputs: numbers each, or one of lists of numbers; default all but the
            label.
        label: of Parquet, the column of the targets; default the one called label, target, class, species or y.
        block: rows that are read at once, see `DiskDataset`.
        preparation: of Parquet, what makes inputs and targets of its columns.

    Returns:
        The data set. Bytes have the scale 1/255.

    Raises:
        DatasetError: a file is damaged, or its rows cannot be read one without the others.
        InputError: there is no such file, or a setting does not fit it.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            f"{path}: there is no such file or folder; expected .npy, .npz, .safetensors, .parquet or a folder."
        )
    if part not in PARTS.values():
        raise InputError(f"part: got {part!r}, expected train, validation or test.")
    name = path.resolve().stem
    if path.suffix in PARQUET:
        rows = ParquetRows(path, inputs, label, preparation)
        classes = () if preparation is None else preparation.classes
        return DiskDataset(rows, name=name, classes=classes, block=block, preparation=preparation)
    if inputs or label:
        raise InputError(f"{path}: has no columns by name; leave inputs and label out.")
    if path.suffix in (*ARRAYS, ".safetensors") or (path.is_dir() and list(path.glob("*.npy"))):
        x, t, note = _pair(path, part)
        source = Arrays(x, t, str(path))
        return DiskDataset(source, name=name, scale=1 / 255 if x.dtype == np.uint8 else 1.0, block=block, note=note)
    if path.is_dir():
        found = look_at_folder(path, size)
        if part not in found.parts:
            raise DatasetError(f"{path}: has no part {part!r}, but {', '.join(found.parts)}.")
        files, t = found.parts[part]
        pictures = ImageFiles(files, t, found.size, found.channels)
        return DiskDataset(pictures, name=name, scale=1 / 255, classes=found.classes, block=block, note=found.note)
    advice = "; nnx shuffle FILE.csv OUT.parquet makes one of it" if path.suffix in TEXTS else ""
    raise InputError(
        f"{path}: its rows cannot be read from the disk one without the others; expected {_FILES}{advice}."
    )


def stays_on_disk(x: Any, t: Any = None) -> bool:
    """Return whether data are read from where they are: memory maps, and data sets of the disk and other libraries.

    Args:
        x: what is given as inputs.
        t: what is given as targets.
    """
    return isinstance(x, DiskDataset | np.memmap) or (t is None and (_is_columns(x) or _is_samples(x)))


def as_disk(name: str, target: str, x: Any, t: Any = None) -> DiskDataset:
    """Return what `stays_on_disk` as a `DiskDataset`.

    Args:
        name: of x, for messages.
        target: of t, for messages.
        x: the inputs.
        t: the targets; None where x brings its own.
    """
    if isinstance(x, DiskDataset) or t is None:
        if t is not None:
            raise InputTypeError(f"{target}: a DiskDataset holds its own targets; leave {target} out.")
        if isinstance(x, np.memmap):
            raise InputTypeError(f"{target}: got None, expected the targets (only a data set brings its own).")
        return x if isinstance(x, DiskDataset) else DiskDataset(x, name=name)
    if not hasattr(t, "shape") or not hasattr(t, "dtype") or frames.is_frame(t):
        t = np.asarray(t)
    return DiskDataset(x, t, name=name)


def _source(x: Any, t: Any, name: str, inputs: Sequence[str], label: str) -> Source:
    if t is None and _is_columns(x):
        return Columns(x, inputs, label)
    if inputs or label:
        raise InputError(f"{name}: has no columns by name; leave inputs and label out.")
    if t is None and _is_samples(x):
        return Samples(x)
    for what, array in (("x", x), ("t", t)):
        if not all(hasattr(array, member) for member in ("shape", "dtype", "__getitem__")) or dlpack.on_device(array):
            raise InputTypeError(
                f"{what}: got {type(array).__name__}, expected an array with shape, dtype and slices of rows, such as "
                "a memory map; or a data set of PyTorch's or Hugging Face's kind alone. A file is opened by "
                "nnx.datasets.on_disk(path)."
            )
    return Arrays(SlicedArray(x), SlicedArray(t), name)


def _is_source(x: Any) -> bool:
    return isinstance(x, Arrays | Columns | ImageFiles | ParquetRows | Samples)


def _is_columns(x: Any) -> bool:
    return hasattr(x, "column_names") and hasattr(x, "__getitem__") and not frames.is_frame(x)


def _is_samples(x: Any) -> bool:
    arrays = ("shape", "__array__", "__dlpack__", "column_names")
    return (
        hasattr(x, "__len__")
        and hasattr(x, "__getitem__")
        and not isinstance(x, list | tuple | dict | str | bytes)
        and not any(hasattr(x, member) for member in arrays)
        and not hasattr(x, "keys")
    )


def _pair(path: Path, part: str) -> tuple[Any, Any, str]:
    """Return inputs and targets among the arrays of a file, or of a folder of .npy files; and what was not used."""
    if path.suffix == ".npy":
        path = path.parent
    files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
    arrays = {name: array for file in files for name, array in stored_arrays(file).items()}
    names, unused = inputs_and_targets(path, list(arrays), part)
    return arrays[names[0]], arrays[names[1]], f"not used: {', '.join(unused)}" if unused else ""
