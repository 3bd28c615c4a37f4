"""`nnx predict` for runs on tables: each row's class or number, shown and written to a file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Printed

from .._support.console import say
from .._support.result import write_csv
from ..backend import use_backend
from ..datasets import Preparation, Table, as_table, is_arrays, is_table, read_rows
from ..errors import DatasetError, InputError
from ..functions import softmax
from ..model import Sequential
from ..ops import HostArray

_SHOWN = 20  # rows


def reads_tables(files: Sequence[Path], preparation: Preparation) -> bool:
    """Return whether files are read as tables: all, unless the run's inputs are pixels, and the files pictures."""
    return not preparation.picture or any(is_table(file) or is_arrays(file) for file in files)


def predict_tables(model: Sequential, preparation: Preparation, files: Sequence[Path], out: Path | None) -> None:
    """Print what a network predicts for the rows of tables, and write it to a CSV file.

    Args:
        model: the network.
        preparation: the run's.
        files: tables, or NumPy's arrays.
        out: the file to write; its first column is the one by which the table numbers its rows, if it has one.
    """
    key = ""
    written: list[list[str]] = []
    for file in files:
        table = _read(file, preparation)
        outputs = model.predict(preparation.inputs(table))
        _say_columns(table, preparation)
        rows = list(_rows(outputs, preparation))
        shown = Printed("line" if table.lines is not None else "row", *map(escape, _heads(preparation)[:2]))
        for row, cells in enumerate(rows[:_SHOWN]):
            shown.add_row(table.place(row).split()[1], *map(escape, cells[:2]))
        Console().print(shown)
        if len(rows) > _SHOWN:
            say(f"and {len(rows) - _SHOWN} more rows" + ("" if out else ": --out predictions.csv writes all"))
        if preparation.label in table.columns:
            say(_score(outputs, preparation, table))
        found = [name for name in preparation.left_out if name in table.columns]
        key = found[0] if found else "row"
        numbers = table.columns[key].tolist() if found else list(range(len(rows)))
        before = [file.name] if len(files) > 1 else []
        written += [[*before, _plain(number), *cells] for number, cells in zip(numbers, rows, strict=True)]
    if out is not None:
        write_csv(out, [*(["file"] if len(files) > 1 else []), key, *_heads(preparation)], written)
        say(f"written to {out}: {len(written)} rows")


def _read(file: Path, preparation: Preparation) -> Table:
    if not file.is_file():
        raise DatasetError(f"{file}: there is no such file; expected a table with the columns of the run's data.")
    if is_arrays(file):
        array = read_rows(file)
        if array.ndim != 2:
            raise InputError(f"{file}: holds an array of shape {array.shape}, expected (n, columns).")
        return Table(str(file), as_table(array).columns)
    if not is_table(file):
        raise InputError(f"{file}: is no table; the run was trained on one, and predicts for rows of its columns.")
    return as_table(file, preparation.texts)


def _say_columns(table: Table, preparation: Preparation) -> None:
    if table.note:
        say(f"{table.name}: {table.note}")
    if further := preparation.further(table):
        say(f"{table.name}: not used, as the network was trained without: {', '.join(further)}")


def _heads(preparation: Preparation) -> list[str]:
    return [preparation.label, *(["probability", *preparation.classes] if preparation.classes else [])]


def _rows(outputs: HostArray, preparation: Preparation) -> Iterator[list[str]]:
    """Yield for each row its class, that one's probability and all probabilities; or its number."""
    if not preparation.classes:
        yield from ([f"{number:.6g}"] for number in preparation.numbers(outputs).tolist())
        return
    with use_backend("numpy"):
        probabilities = softmax(outputs)
    for row in probabilities.tolist():
        best = int(np.argmax(row))
        yield [preparation.classes[best], f"{row[best]:.4f}", *(f"{p:.6f}" for p in row)]


def _score(outputs: HostArray, preparation: Preparation, table: Table) -> str:
    """Compare with the labels, which are in the table."""
    t = preparation.targets(table)
    if preparation.classes:
        right = int((outputs.argmax(axis=1) == t).sum())
        return f"{table.name} has {preparation.label}, too: {right} of {len(t)} rows right ({right / len(t):.2%})"
    off = np.abs(outputs[:, 0] - t).mean() * preparation.target[1]
    return f"{table.name} has {preparation.label}, too: off by {off:.4g} on average"


def _plain(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
