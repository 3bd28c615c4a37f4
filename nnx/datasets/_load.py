"""A data set by name, file or folder, in parts to train on, to validate and to test."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .._support import frames
from .._support.checks import as_host, check_seed
from .._support.labels import numbered
from ..errors import DatasetError, InputError, InputTypeError, unknown
from ..ops import HostArray
from . import _arrays
from ._dataset import Dataset
from ._digits import digits
from ._download import fashion_mnist, mnist
from ._folder import find_idx, folder, refuse_size
from ._images import Size, holds_images
from ._preparation import AS_CLASSES, Preparation, label_classes, prepare
from ._prepare import split_rows
from ._table import ENDINGS, PARQUET, Table, as_column, columns_of, is_table, read_table

NAMES = ("digits", "mnist", "fashion_mnist")
_FILES = f"a table ({', '.join(ENDINGS)}), an .npz or .npy of arrays, or a folder of idx files or image files"


class Splits(NamedTuple):
    """The parts of a data set: choose on `validation`, look at `test` once."""

    train: Dataset
    validation: Dataset
    test: Dataset

    def pictures(self) -> "Splits":
        """Return the parts with inputs (n, channels, height, width); see `Dataset.pictures`."""
        return Splits(*(part.pictures() for part in self))


Data: TypeAlias = "str | os.PathLike[str] | Dataset | Splits | tuple[Any, Any]"
"""The name of a data set, a file or a folder, as `load` takes it, a `Dataset`, `Splits`, or a pair (x, t)."""


def load(
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
) -> Splits:
    """Load a data set in parts, by its name, or from a table, NumPy's files, or a folder of idx files or image files.

    If it has no test part, a random fifth of the rows becomes one; a tenth of the rest is for validation.

    The columns of a table, and of arrays (n, columns) of other numbers than bytes, are standardised, as is a label that
    is a number, by mean and standard deviation of the training part; the parts' `preparation` does so with new rows.
    The label is the column called label, target, class, species or y, else the last one if it alone holds text.

    Args:
        name: "digits", "mnist", "fashion_mnist"; a table as `read_table` reads it; an .npz or .npy with arrays named x
            and y, or x_train, y_train, x_test, y_test, and the like; or a folder as `folder` reads it.
        seed: decides which rows go where.
        size: (height, width) in pixels to which pictures from image files are resized; default: their own, or, where
            they differ, the median height and width, made smaller to 64 at most. Of a table: the columns are the pixels
            of such pictures, 0..255.
        label: of a table, the column to be predicted.
        categories: of a table, columns of texts that become a column of 0 and 1 for each value.
        fill: of a table, what missing numbers become: "mean", "median" or a number.
        drop: of a table, columns to leave out.
        loss: of a table, "cross_entropy" takes the label for classes, "mse" and "huber" for a number. Default: texts
            are classes, and whole numbers if they are at most 20 different ones, or 0, 1, 2, ... with ten rows each on
            average.
        preparation: of a table, one that is used in place of these settings.

    Raises:
        DatasetError: there are fewer than ten rows (eight beside a test part), or files are missing or damaged; a
            table's label is not to be told, a column holds texts or dates, or values are missing.
        InputError: there is no data set or file of that name, or a setting does not fit it.
    """
    if not isinstance(name, str | os.PathLike):
        raise InputTypeError(f"name: got {name!r}, expected a data set's name, a file or a folder.")
    check_seed(seed)
    settings: dict[str, Any] = {"label": label, "categories": categories, "fill": fill, "drop": drop, "loss": loss}
    path = Path(name)
    if name not in NAMES and path.is_file():
        return _file(path, seed, size, settings, preparation)
    if name not in NAMES and path.is_dir() and _arrays.holds_arrays(path):
        return _pairs(path, seed, settings, preparation)
    _refuse(str(name), settings)
    if name in NAMES:
        refuse_size(name, size)
    if name == "digits":
        return _split(digits(), seed)
    if name == "mnist":
        return _parts(mnist("train"), mnist("test"), seed)
    if name == "fashion_mnist":
        return _parts(fashion_mnist("train"), fashion_mnist("test"), seed)
    if path.is_dir() or find_idx(path) is not None:
        parts = folder(name, size)
        if len(parts) == 2:
            return _parts(parts["train"], parts["test"], seed)
        return _split(next(iter(parts.values())), seed)
    if path.suffix or path.parent != Path():
        raise InputError(f"{name}: there is no such file or folder; expected {', '.join(NAMES)}, {_FILES}.")
    raise unknown("data set", name, [*NAMES, _FILES])


def reads_images(name: "str | os.PathLike[str]") -> bool:
    """Return whether `load` reads image files for this name: it is a folder that has them, and no idx files.

    Args:
        name: as for `load`.
    """
    if name in NAMES or not Path(name).is_dir():
        return False
    return find_idx(Path(name)) is None and holds_images(Path(name))


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
    if not splits.train.classes:
        raise DatasetError(
            f"{splits.train.name}: its labels are numbers to be predicted, expected classes; nnx train takes them, and "
            "load(..., loss='cross_entropy') takes their values for classes."
        )
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
    return Splits(*(whole.take(rows) for rows in _rows(whole.name, {"train": len(whole)}, seed)))


def _parts(rest: Dataset, test: Dataset, seed: int) -> Splits:
    check_enough(rest.name, len(rest), 8)
    train, validation = rest.split(0.9, 0.1, seed=seed)
    return Splits(train, validation, test)


def _rows(name: str, counts: Mapping[str, int], seed: int) -> tuple[HostArray, HostArray, HostArray]:
    """Tell which rows are to train on, to validate and to test, of parts that lie one after the other.

    Args:
        name: the data set's, for messages.
        counts: the rows of "train", and of "validation" and "test" where they are given.
        seed: decides which rows go where.
    """
    check_enough(name, counts["train"], 10 if "test" not in counts else 8 if "validation" not in counts else 1)
    begins = dict(zip(counts, np.cumsum([0, *counts.values()]).tolist(), strict=False))
    given = {part: np.arange(begins[part], begins[part] + count) for part, count in counts.items()}
    train = given["train"]
    if "test" not in given:
        train, given["test"] = (train[rows] for rows in split_rows(len(train), (0.8, 0.2), seed))
    if "validation" not in given:
        train, given["validation"] = (train[rows] for rows in split_rows(len(train), (0.9, 0.1), seed))
    return train, given["validation"], given["test"]


# Files ----------------------------------------------------------------------------------------------------------------


def _file(
    path: Path, seed: int, size: Size | None, settings: dict[str, Any], preparation: Preparation | None
) -> Splits:
    _refuse_larger_than_memory(path)
    if is_table(path):
        texts = settings["categories"] if preparation is None else preparation.texts
        table = read_table(path, texts)
        return _table(table, {"train": len(table)}, seed, size, settings, preparation)
    if path.suffix in _arrays.ENDINGS:
        refuse_size(path, size)
        return _pairs(path, seed, settings, preparation)
    if "ubyte" in path.name:
        raise InputError(f"{path}: is one file of a data set; give its folder, {path.parent}, in place of it.")
    advice = _ADVICE.get(path.suffix.lower(), "save it as one of these")
    raise InputError(f"{path}: is no data set that nnx reads; expected {_FILES}; {advice}.")


def _refuse_larger_than_memory(path: Path) -> None:
    """Raise for a file that has more bytes than the machine has memory."""
    memory = memory_bytes()
    if memory is not None and path.stat().st_size > memory:
        first = "" if path.suffix in (*PARQUET, *_arrays.ENDINGS) else "; nnx shuffle makes Parquet of a CSV for that"
        raise InputError(
            f"{path}: has {path.stat().st_size / 2**30:.1f} GiB, and this machine {memory / 2**30:.1f} GiB of memory; "
            f"leave its rows on the disk, by --from-disk or nnx.datasets.load_on_disk{first}."
        )


def memory_bytes() -> int | None:
    """Return how much memory the machine has; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


_ADVICE = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "save the sheet as CSV"),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".gz", ".7z", ".rar", ".xz", ".bz2"), "unpack it first"),
    **dict.fromkeys((".pkl", ".pickle"), "a pickle could run anything when it is loaded: save its arrays by np.savez"),
    **dict.fromkeys((".png", ".jpg", ".jpeg"), "give the folder that has a folder of pictures for each class"),
}


def _refuse(name: str, settings: Mapping[str, Any]) -> None:
    """Raise for settings of tables, given for data without columns."""
    for setting, value in settings.items():
        if value not in ("", None, (), []) and not (setting == "loss" and value in AS_CLASSES):
            raise InputError(f"{setting}: got {value!r}, but {name} is no table; leave it out.")


def _table(
    table: Table,
    counts: Mapping[str, int],
    seed: int,
    size: Size | None,
    settings: dict[str, Any],
    preparation: Preparation | None,
) -> Splits:
    """Return the parts of a table; `counts` are their rows, one part after the other."""
    name = Path(table.name).stem
    parts = _rows(table.name, counts, seed)
    if preparation is None:
        turned = size is not None and "emnist" in name.lower()
        preparation = prepare(table, parts[0], **settings, picture=size, turned=turned)
        if turned:
            table = replace(table, note="; ".join(filter(None, [table.note, "EMNIST's pictures, turned upright"])))
    x, t = preparation.inputs(table), preparation.targets(table)
    note = preparation.told(table.note)
    return Splits(*(Dataset(name, x[rows], t[rows], 1.0, preparation.classes, note, preparation) for rows in parts))


def _pairs(path: Path, seed: int, settings: dict[str, Any], preparation: Preparation | None) -> Splits:
    """Return the parts of NumPy's arrays: pictures and bytes as they are, other (n, columns) as a table."""
    pairs, unused = _arrays.read_arrays(path)
    x = np.concatenate([pair.x for pair in pairs.values()])
    t = np.concatenate([pair.t for pair in pairs.values()])
    counts = {part: len(pair.x) for part, pair in pairs.items()}
    note = f"not used: {', '.join(unused)}" if unused else ""
    if x.ndim == 2 and x.dtype != np.uint8:
        table = Table(str(path), {**columns_of(x), "y": as_column(str(path), frames.column("y", t))}, None, note)
        return _table(table, counts, seed, None, {**settings, "label": settings["label"] or "y"}, preparation)
    _refuse(str(path), settings)
    table = Table(str(path), {"y": as_column(str(path), frames.column("y", t))})
    classes = label_classes(table, "y", settings["loss"] or AS_CLASSES[0])
    parts = _rows(str(path), counts, seed)
    x, scale = _pixels(str(path), x, parts[0])
    t = Preparation("y", (), classes).targets(table)
    return Splits(*(Dataset(path.stem, x[rows], t[rows], scale, classes, note) for rows in parts))


def _pixels(name: str, x: HostArray, train: HostArray) -> tuple[HostArray, float]:
    """Return pictures as bytes, if they are whole numbers up to 255, else floats; and what makes them 0..1."""
    if x.dtype.kind not in "fiub":
        raise DatasetError(f"{name}: has inputs of dtype {x.dtype}, expected numbers.")
    x = x.astype(np.float32) if x.dtype == np.float16 else x
    low, high = float(x.min()), float(x[train].max())
    if not low >= 0 or x.max() > 255:
        return x if x.dtype.kind == "f" else x.astype(np.float32), 1.0
    whole = x.dtype.kind in "iub" or bool((x == np.floor(x)).all())
    return x.astype(np.uint8) if whole else x, 1 / 255 if high > 127 else 1 / high if high > 1 else 1.0


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
