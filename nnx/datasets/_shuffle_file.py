"""A file's rows in random order, once and for all, in bounded memory: in two passes over the file.

The first pass deals each row to a random one of some piles, which are files; the second shuffles each pile in memory,
and writes one after another. Every order of the rows is equally likely.
"""

import contextlib
import csv
import io
import itertools
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from .._support.checks import check_path, check_seed
from ..errors import DatasetError, InputError
from ..ops import HostArray
from ._arrays import kind_of
from ._sources import open_parquet
from ._stored import FileArray, stored_arrays
from ._table import MISSING, PARQUET, TEXTS, csv_form

_PILE = 1 << 28  # bytes: a constant, so that the same seed gives the same file on every machine
_MOST = 512  # piles, each of which is an open file
_GROUP = 1 << 23  # bytes of a row group of Parquet
_READ = 1 << 24  # bytes that are read at once


def shuffle_file(path: "str | os.PathLike[str]", out: "str | os.PathLike[str]", seed: int = 0) -> int:
    """Write the rows of a file in random order to another one.

    The same seed gives the same order. It takes some 300 MiB of memory, of files above 128 GiB a 512th of their size,
    and on the disk of `out` as much room again as the result has.

    Args:
        path: an .npz, of which all arrays have as many rows; an .npy, with those of names such as x and y beside it, or
            their folder; a .csv; a .parquet.
        out: a new file of the same kind, or of a .csv a .parquet; of .npy files a new folder.
        seed: decides the order.

    Returns:
        The number of rows.

    Raises:
        DatasetError: the file is damaged, or its arrays differ in rows.
        InputError: there is no such file, `out` exists already or is of another kind, or the disk has too little room.
    """
    path, out, seed = check_path("path", path), check_path("out", out), check_seed(seed)
    kind = ".npy" if path.is_dir() and list(path.glob("*.npy")) else path.suffix.lower()
    if not path.exists() or kind not in (".npy", ".npz", *PARQUET, *TEXTS):
        raise InputError(
            f"{path}: expected a file .npy, .npz, .csv or .parquet, or a folder of .npy files, to shuffle."
        )
    wanted = {".npy": ("",), ".npz": (".npz",)}.get(kind, PARQUET if kind in PARQUET else (*TEXTS, *PARQUET))
    if out.suffix.lower() not in wanted:
        expected = (
            "a folder, since files beside each other are shuffled together" if kind == ".npy" else " or ".join(wanted)
        )
        raise InputError(f"{out}: expected {expected}, for {path}.")
    if out.exists():
        raise InputError(f"{out}: exists already; give a new name.")
    if not out.parent.is_dir():
        raise InputError(f"{out}: its folder does not exist; make it first.")
    size = sum(file.stat().st_size for file in (_npy_files(path) if kind == ".npy" else [path]))
    if (free := shutil.disk_usage(out.parent).free) < 2 * size:
        raise InputError(
            f"{out}: shuffling needs {2 * size / 2**30:.1f} GiB, and its disk has {free / 2**30:.1f} GiB; "
            "choose another."
        )
    with tempfile.TemporaryDirectory(prefix=".shuffle-", dir=out.parent) as folder:
        made, piles = Path(folder) / f"result{out.suffix}", Path(folder)
        if kind in (".npy", ".npz"):
            rows = _arrays(path, kind, made, piles, seed)
        elif kind in PARQUET:
            rows = _parquet(path, made, piles, seed)
        else:
            rows = _csv(path, made, piles, seed)
        os.replace(made, out)
    return rows


class _Piles:
    """Rows that are dealt to piles.

    Args:
        size: bytes of all rows.
        seed: decides where each row goes.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.count = max(1, min(_MOST, -(-size // _PILE)))
        self._deal = np.random.default_rng((seed, 2, 0))
        self._seed = seed

    def deal(self, rows: int) -> HostArray:
        """Return the piles of the next rows, (rows,)."""
        return self._deal.integers(0, self.count, rows)

    def order(self, pile: int, rows: int) -> HostArray:
        """Return the order of the rows of a pile."""
        return np.random.default_rng((self._seed, 2, 1 + pile)).permutation(rows)


# NumPy's files --------------------------------------------------------------------------------------------------------


def _npy_files(path: Path) -> list[Path]:
    """Return the .npy files that are shuffled together: those that are named as inputs and targets, or the one."""
    folder = path if path.is_dir() else path.parent
    named = [file for file in sorted(folder.glob("*.npy")) if kind_of(file.stem)]
    return named if path.is_dir() or path in named else [path]


def _arrays(path: Path, kind: str, out: Path, folder: Path, seed: int) -> int:
    files = _npy_files(path) if kind == ".npy" else [path]
    arrays = {name: array for file in files for name, array in stored_arrays(file).items()}
    counts = {name: array.shape[0] if array.shape else 0 for name, array in arrays.items()}
    rows = next(iter(counts.values()), 0)
    if not rows or len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DatasetError(
            f"{path}: its arrays have {told or 'no'} rows, expected as many in all; where parts for training and for "
            "testing differ, write them to files of their own, and shuffle that of training."
        )
    size = sum(int(np.prod(array.shape)) * array.dtype.itemsize for array in arrays.values())
    if kind == ".npy":
        out.mkdir()
        for name, array in arrays.items():
            with (out / f"{name}.npy").open("wb") as file:
                _write_array(array, file, _Piles(size, seed), folder)
    else:
        with zipfile.ZipFile(out, "w") as archive:
            for name, array in arrays.items():
                entry = zipfile.ZipInfo(f"{name}.npy")  # of a date that is always the same
                with archive.open(entry, "w", force_zip64=True) as member:
                    _write_array(array, member, _Piles(size, seed), folder)
    return rows


def _write_array(array: FileArray, out: IO[bytes], piles: _Piles, folder: Path) -> None:
    """Write an array's rows in the order that the piles give, which is the same for all arrays."""
    n, shape = array.shape[0], array.shape[1:]
    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(out, header)
    step = max(1, _READ // max(1, int(np.prod(shape)) * array.dtype.itemsize))
    paths = [folder / f"{pile}.rows" for pile in range(piles.count)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for begin in range(0, n, step):
            x = array.read(begin, min(begin + step, n))
            to = piles.deal(len(x))
            for pile in np.unique(to).tolist():
                files[pile].write(np.ascontiguousarray(x[to == pile]).reshape(-1).view(np.uint8).data)
    for pile, path in enumerate(paths):
        dealt: HostArray = np.fromfile(path, array.dtype)
        dealt = dealt.reshape(-1, *shape) if dealt.size else dealt.reshape(0, *shape)
        path.unlink()
        order = piles.order(pile, len(dealt))
        for begin in range(0, len(dealt), step):
            out.write(dealt[order[begin : begin + step]].reshape(-1).view(np.uint8).data)


# CSV ------------------------------------------------------------------------------------------------------------------


def _csv(path: Path, out: Path, folder: Path, seed: int) -> int:
    """Shuffle the records of a CSV, which stay as they are written; those of a first line of names alone stay there."""
    piles, rows = _Piles(path.stat().st_size, seed), 0
    delimiter, named = csv_form(path)
    paths = [folder / f"{pile}.rows" for pile in range(piles.count)]
    with contextlib.ExitStack() as stack:
        try:
            text = stack.enter_context(path.open(encoding="utf-8-sig", newline=""))
            records = _records(text, delimiter)
            first = next(records, "") if named else ""
            files = [stack.enter_context(pile.open("w", encoding="utf-8", newline="")) for pile in paths]
            while block := list(itertools.islice(records, 1 << 14)):
                for record, pile in zip(block, piles.deal(len(block)).tolist(), strict=True):
                    files[pile].write(record)
                rows += len(block)
        except (UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"{path}: is no CSV in UTF-8 ({error}); save it as such.") from None
    if not rows:
        raise DatasetError(f"{path}: holds no rows, expected at least one.")

    def shuffled() -> Iterator[str]:
        for number, pile in enumerate(paths):
            with pile.open(encoding="utf-8", newline="") as file:
                found = list(_records(file, delimiter))
            pile.unlink()
            yield "".join(found[place] for place in piles.order(number, len(found)).tolist())

    if out.suffix.lower() in PARQUET:
        _to_parquet(path, first, delimiter, shuffled(), out)
    else:
        with out.open("w", encoding="utf-8", newline="") as file:
            file.write(first)
            file.writelines(shuffled())
    return rows


def _records(lines: IO[str], delimiter: str) -> Iterator[str]:
    """Yield the records of a CSV as they stand, those with line breaks in quotes as well, each with a line break."""
    seen: list[str] = []

    def watched() -> Iterator[str]:
        for line in lines:
            seen.append(line)
            yield line

    for record in csv.reader(watched(), delimiter=delimiter):
        text = "".join(seen)
        seen.clear()
        if record:
            yield text if text.endswith("\n") else text + "\n"


def _to_parquet(path: Path, first: str, delimiter: str, texts: Iterator[str], out: Path) -> None:
    """Write shuffled CSV as Parquet: columns of numbers as float64, others as text."""
    if not first:
        raise InputError(f"{path}: has no names of columns in its first line, which Parquet needs; write some there.")
    open_parquet(None, path)
    import pyarrow
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    types: dict[str, Any] | None = None
    writer: Any = None
    try:
        for text in texts:
            options = arrow_csv.ConvertOptions(
                column_types=types,
                null_values=list(MISSING),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            )
            form = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
            content = io.BytesIO((first + text).encode())
            table = arrow_csv.read_csv(content, parse_options=form, convert_options=options)
            if types is None:
                types = {field.name: _type(pyarrow, field.type) for field in table.schema}
                table = table.cast(pyarrow.schema(list(types.items())))
                writer = parquet.ParquetWriter(out, table.schema)
            writer.write_table(table, row_group_size=_group(table.nbytes, len(table)))
    except pyarrow.ArrowException as error:
        raise DatasetError(
            f"{path}: cannot be written as Parquet ({error}); a column is to hold numbers alone, or texts alone."
        ) from error
    finally:
        if writer is not None:
            writer.close()


def _type(pyarrow: Any, found: Any) -> Any:
    number = pyarrow.types.is_integer(found) or pyarrow.types.is_floating(found) or pyarrow.types.is_null(found)
    return pyarrow.float64() if number else pyarrow.string()


def _group(size: int, rows: int) -> int:
    return max(1, rows * _GROUP // max(size, 1))


# Parquet --------------------------------------------------------------------------------------------------------------


def _parquet(path: Path, out: Path, folder: Path, seed: int) -> int:
    file = open_parquet(path, path)
    import pyarrow
    from pyarrow import parquet

    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    piles = _Piles(sum(group.total_byte_size for group in groups), seed)
    if not file.metadata.num_rows:
        raise DatasetError(f"{path}: holds no rows, expected at least one.")
    schema = file.schema_arrow
    paths = [folder / f"{pile}.rows" for pile in range(piles.count)]
    try:
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(pyarrow.OSFile(str(pile), "wb")) for pile in paths]
            writers = [stack.enter_context(pyarrow.ipc.new_stream(pile, schema)) for pile in files]
            for batch in file.iter_batches(batch_size=1 << 14):
                to = piles.deal(len(batch))
                for pile in np.unique(to).tolist():
                    writers[pile].write_batch(batch.take(pyarrow.array(np.flatnonzero(to == pile))))
        with parquet.ParquetWriter(out, schema) as writer:
            for number, pile in enumerate(paths):
                with pyarrow.OSFile(str(pile), "rb") as dealt:
                    table = pyarrow.ipc.open_stream(dealt).read_all()
                pile.unlink()
                if len(table):
                    table = table.take(pyarrow.array(piles.order(number, len(table))))
                    writer.write_table(table, row_group_size=_group(table.nbytes, len(table)))
    except pyarrow.ArrowException as error:
        raise DatasetError(f"{path}: cannot be shuffled ({error}); use another copy.") from error
    return int(file.metadata.num_rows)
