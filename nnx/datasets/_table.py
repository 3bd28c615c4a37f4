"""Tables from files: CSV by Python's own reader, Parquet by pyarrow; columns by name."""

import csv
import gzip
import importlib.util
import itertools
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from .._support import frames
from .._support.console import Lines
from ..errors import DatasetError, InputError, InputTypeError
from ..ops import HostArray

TEXTS = (".csv", ".tsv", ".txt", ".data")
PARQUET = (".parquet", ".pq")
ENDINGS = (".csv", ".csv.gz", ".tsv", ".txt", ".data", *PARQUET)
MISSING = ("", "?", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None", "none", "<NA>", "NaT")
"""What stands for a value that is missing."""
_DELIMITERS = ",;\t|"
_ROWS = 1024  # read at once
_MANY = 1 << 24  # bytes of a file whose reading shows a bar
_Row: TypeAlias = tuple[list[str], int]  # the cells, and the line that they are in
_GZIP, _BOM16 = b"\x1f\x8b", (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Columns of equally many values, by name.

    Args:
        name: for messages: the file's.
        columns: (n,) each: float64 with NaN for what is missing, text as objects with None for it, or datetime64.
        lines: (n,), the line of each row in its file; None for what has no lines.
        note: what was noticed when it was read.
    """

    name: str
    columns: Mapping[str, HostArray]
    lines: HostArray | None = None
    note: str = ""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __repr__(self) -> str:
        return f"<Table {self.name}: {len(self)} rows of {', '.join(self.columns)}>"

    def place(self, row: Any) -> str:
        """Tell where a row is, for messages."""
        return f"row {row}" if self.lines is None else f"line {self.lines[row]}"


def is_table(path: "str | os.PathLike[str]") -> bool:
    """Return whether a file's name is that of a table."""
    path = Path(path)
    return path.suffix.lower() in (*TEXTS, *PARQUET) or (path.suffix.lower() == ".gz" and _ending(path) in TEXTS)


def read_table(path: "str | os.PathLike[str]", texts: Sequence[str] = ()) -> Table:
    """Read a table: CSV (also with semicolons, tabs, bars or blanks between, gzip'd or not) or Parquet.

    A CSV's first line has the names of the columns, unless one of its cells is a number; then they are called "1", "2",
    ... Numbers may have a decimal comma where semicolons separate them. What is empty, ?, NA, NaN, null or None is
    missing. Columns whose values are all numbers become float64, true and false stay texts.

    Args:
        path: the file; .parquet and .pq are Parquet, which needs pyarrow, all others CSV.
        texts: columns of a CSV that are texts even if all of them are numbers.

    Raises:
        DatasetError: the file is missing, damaged, or no table.
        InputError: pyarrow is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; expected a table.")
    table = _parquet(path) if _ending(path) in PARQUET else _Csv(path, texts).read()
    if not len(table):
        raise DatasetError(f"{path}: holds no rows, expected at least one below the names of the columns.")
    return table


def csv_form(path: Path) -> tuple[str, bool]:
    """Return what separates the cells of a CSV, and whether its first line has names, as `read_table` tells them."""
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        first = next((line for line in file if line.strip()), "")
    delimiter = _delimiter(first)
    cells = next(csv.reader([first], delimiter=delimiter, skipinitialspace=True), [])
    return delimiter, not _Csv(path, ()).are_values([cell.strip() for cell in cells])


def as_table(data: Any, texts: Sequence[str] = ()) -> Table:
    """Return a table from a file, a frame of pandas or polars, columns by name, or an array.

    Args:
        data: a path, a `Table`, a frame, a mapping of names to columns, or an array (n, columns) of numbers.
        texts: as for `read_table`.
    """
    if isinstance(data, Table):
        return data
    if isinstance(data, str | os.PathLike):
        return read_table(data, texts)
    if isinstance(data, np.ndarray) and data.ndim == 2:
        return Table("data", columns_of(data))
    if isinstance(data, Mapping):
        found = [frames.column(str(name), values) for name, values in data.items()]
    elif frames.is_frame(data):
        found = frames.columns(data)
    else:
        raise InputTypeError(f"data: got {type(data).__name__}, expected a file, a frame or columns by name.")
    return _of_columns("data", found)


def columns_of(x: HostArray) -> dict[str, HostArray]:
    """Return the columns of an array (n, columns) of numbers by their numbers from 0, as texts."""
    return {str(place): as_column("data", frames.column(str(place), column)) for place, column in enumerate(x.T)}


def as_column(name: str, column: frames.Column) -> HostArray:
    """Return a column as a `Table` has it; raise `DatasetError` for others than numbers, texts and dates.

    Args:
        name: the table's, for messages.
        column: its values, of whatever library.
    """
    if column.kind == "numbers" and column.values.dtype.kind != "b":
        return column.values.astype(np.float64)
    if column.kind == "dates":
        return column.values.astype("datetime64[s]")
    if column.kind in ("numbers", "text", "categories"):
        return _texts([str(value) for value in column.values.tolist()])
    raise DatasetError(
        f"{name}: column {column.name!r} holds neither numbers nor texts, but such as {column.example[:40]!r}; leave "
        "it out, or make numbers of it."
    )


def _of_columns(name: str, columns: list[frames.Column]) -> Table:
    if not columns:
        raise DatasetError(f"{name}: has no columns.")
    if len({len(column.values) for column in columns}) > 1:
        raise DatasetError(f"{name}: has columns of different lengths, expected as many values in each.")
    for column in columns:
        if sum(other.name == column.name for other in columns) > 1:
            raise DatasetError(f"{name}: has two columns {column.name!r}; rename one.")
    return Table(name, {column.name: as_column(name, column) for column in columns})


def _texts(texts: Sequence[str]) -> HostArray:
    column = np.empty(len(texts), object)
    column[:] = [None if text in MISSING else text for text in texts]
    return column


def _ending(path: Path) -> str:
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


# Parquet --------------------------------------------------------------------------------------------------------------


def _parquet(path: Path) -> Table:
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"{path}: reading Parquet needs pyarrow; pip install 'nnx-array[tables]', or save it as CSV.")
    import pyarrow
    from pyarrow import parquet

    try:
        found = parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: is no Parquet file that pyarrow can read ({error}); use another copy.") from error
    return _of_columns(str(path), frames.columns(found))


# CSV ------------------------------------------------------------------------------------------------------------------


class _Csv:
    """Reads a CSV file, a thousand rows at once: columns are numbers until a text comes."""

    def __init__(self, path: Path, texts: Sequence[str]) -> None:
        self._path, self._names = path, texts
        self._texts: set[int] = set()  # the places of columns that hold text
        self._comma = False  # whether numbers may have a decimal comma

    def read(self) -> Table:
        """Read the file. Raises `DatasetError` if it is no table."""
        try:
            while (table := self._pass()) is None:
                pass  # a column of numbers held a text further down: it is read as text from the beginning
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"{self._path}: is no text in UTF-8 (it has the byte {error.object[error.start]:#x}); save it "
                "as CSV in UTF-8."
            ) from None
        except (OSError, EOFError, zlib.error, csv.Error) as error:
            raise DatasetError(f"{self._path}: cannot be read as a table ({error}); use another copy.") from error
        return table

    def _pass(self) -> Table | None:
        with self._path.open("rb") as file, self._lines(file) as lines:
            first = next((line for line in lines if line.strip()), "")
            if "\0" in first:
                raise DatasetError(f"{self._path}: is no text; expected a table such as CSV.")
            delimiter = _delimiter(first)
            self._comma = delimiter == ";"
            whole: Iterator[str] = itertools.chain([first], lines)
            if delimiter == " ":
                whole = (line.strip().replace("\t", " ") + "\n" for line in whole)
            reader = csv.reader(whole, delimiter=delimiter, skipinitialspace=True)
            rows: Iterator[_Row] = ((row, reader.line_num) for row in reader if any(cell.strip() for cell in row))
            names, rows, note = self._header(rows)
            self._texts |= {place for place, name in enumerate(names) if name in self._names}
            parts: list[list[HostArray]] = [[] for _ in names]
            places: list[int] = []
            with _Bar(self._path) as bar:
                while block := list(itertools.islice(rows, _ROWS)):
                    self._check(block, len(names))
                    for place, values in enumerate(zip(*(row for row, _ in block), strict=True)):
                        column = None if place in self._texts else self._numbers(values)
                        if column is None:
                            again = bool(parts[place]) and place not in self._texts
                            self._texts.add(place)
                            if again:
                                return None
                            column = _texts([value.strip() for value in values])
                        parts[place].append(column)
                    places += [line for _, line in block]
                    bar.at(file.tell())
        columns = {name: np.concatenate(part or [np.empty(0)]) for name, part in zip(names, parts, strict=True)}
        return Table(str(self._path), columns, np.array(places, np.int64), note)

    def _lines(self, file: IO[bytes]) -> TextIOWrapper:
        """Return the lines of an open file, unpacked and decoded."""
        start = file.read(2)
        file.seek(0)
        packed: Any = file
        if start == _GZIP:
            packed = gzip.open(file)  # noqa: SIM115  closed with the text
            start = packed.read(2)
            packed.seek(0)
        return TextIOWrapper(packed, "utf-16" if start in _BOM16 else "utf-8-sig", newline="")

    def _header(self, rows: Iterator[_Row]) -> tuple[list[str], Iterator[_Row], str]:
        """Return the names of the columns, the rows below them, and what was noticed."""
        first = list(itertools.islice(rows, 2))
        if not first:
            raise DatasetError(f"{self._path}: is empty; expected a table.")
        names = [cell.strip() for cell in first[0][0]]
        if self.are_values(names):
            numbers = [str(number) for number in range(1, len(names) + 1)]
            note = "no names of columns in the first line: they are called by their numbers from 1"
            return numbers, itertools.chain(first, rows), note
        below: Iterator[_Row] = itertools.chain(first[1:], rows)
        more = len(first[1][0]) - len(names) if len(first) > 1 else 0
        if more == 1 and first[1][0][-1].strip():
            names = ["", *names]  # as R writes it: the rows begin with their names
        elif more == -1 and not names[-1]:
            names.pop()
        elif more == 1:
            below = ((row[:-1] if not row[-1].strip() else row, line) for row, line in below)
        if "" in names:
            names = [name or f"unnamed {place}" for place, name in enumerate(names, 1)]
        for name in names:
            if names.count(name) > 1:
                raise DatasetError(f"{self._path}: has two columns {name!r}; rename one.")
        return names, below, ""

    def are_values(self, cells: list[str]) -> bool:
        """Return whether a first line is a row: a cell is a number, and not a name as pandas gives them, 0, 1, ..."""
        numbers = [cell for cell in cells if self._numbers([cell]) is not None and cell not in MISSING]
        return bool(numbers) and numbers != [str(number) for number in range(len(numbers))]

    def _check(self, block: list[_Row], columns: int) -> None:
        for row, line in block:
            if len(row) != columns:
                raise DatasetError(
                    f"{self._path}: line {line} has {len(row)} cells, expected {columns} as in the first one; put "
                    "texts that hold a delimiter in double quotes."
                )

    def _numbers(self, values: Sequence[str]) -> HostArray | None:
        """Return cells as numbers, or None if one is none."""
        try:
            return np.array(values, np.float64)
        except ValueError:
            texts = ["nan" if (text := value.strip()) in MISSING else text for value in values]
        if self._comma:
            texts = [text.replace(",", ".") if text.count(",") == 1 and "." not in text else text for text in texts]
        try:
            return np.array(texts, np.float64)
        except ValueError:
            return None


def _delimiter(line: str) -> str:
    """Return what separates the cells of a line: the most frequent of , ; tab and |, else blanks, tabs among them."""
    bare = re.sub('"[^"]*"', "", line).strip()
    most = max(_DELIMITERS, key=bare.count)
    blanks = most not in bare or (most == "\t" and "  " in bare)
    return most if not blanks else " " if len(bare.split()) > 1 else ","


class _Bar(Lines):
    """A bar, in a terminal, while a large file is read."""

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size
        super().__init__(size > _MANY, "{task.description}", "bytes")
        self._task = None if self._bar is None else self._bar.add_task(f"reading {path.name}", total=size)

    def at(self, place: int) -> None:
        """Show how far the reading is, in bytes."""
        if self._bar is not None:
            self._bar.update(self._task, completed=place)
