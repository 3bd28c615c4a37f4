"""What makes a network's inputs and targets of a table's columns: found on the training part, kept with the run."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .._support.pages import see
from ..errors import DatasetError, InputError, InputTypeError, unknown
from ..ops import HostArray
from ._table import Table, as_table

LABELS = ("label", "target", "class", "species", "y", "labels", "targets", "classes")
"""The names by which a table's label is found, in any case of letters."""
FILLS = ("mean", "median")
AS_CLASSES, AS_NUMBERS = ("cross_entropy", "softmax_cross_entropy"), ("mse", "mean_squared_error", "huber")
"""The losses that take the label for classes, and for a number."""
_FEW = 20  # different whole numbers that are classes
_EACH = 10  # rows of each class, where there are more and they are 0, 1, 2, ...
_MOST = 1000  # values of a text column that becomes one column each
_BOOLS = ("true", "false")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d{1,2}:.*)?$")


@dataclass(frozen=True)
class Column:
    """A column of the table that is an input: a number, or a text that becomes a column of 0 and 1 for each value."""

    name: str
    values: tuple[str, ...] = ()
    """The values of a text; none for a number."""
    mean: float = 0.0
    std: float = 1.0
    """The number x becomes (x - mean) / std."""
    fill: float | None = None
    """What a missing number is taken for; of a text 0 in all of its columns. None refuses them."""

    @property
    def width(self) -> int:
        """How many inputs it makes."""
        return len(self.values) or 1


@dataclass(frozen=True)
class Preparation:
    """How the columns of a table become inputs and targets, found on the rows to train on.

    Args:
        label: the column to be predicted.
        columns: the inputs, in their order.
        classes: the label's values, in the order of their numbers; none for a label that is a number.
        target: mean and standard deviation of a label that is a number, by which targets are standardised.
        left_out: columns that are no inputs.
        picture: (height, width) or (height, width, 3) where the inputs are a picture's pixels; else none.
    """

    label: str
    columns: tuple[Column, ...]
    classes: tuple[str, ...]
    target: tuple[float, float] = (0.0, 1.0)
    left_out: tuple[str, ...] = ()
    picture: tuple[int, ...] = ()

    def inputs(self, data: Any) -> HostArray:
        """Make the network's inputs of rows: (n, columns), or pictures; float64.

        Args:
            data: a table's file, a `Table`, a frame, or columns by name; columns may be in any order, and more of them.

        Raises:
            DatasetError: a column or a value is missing, or is of another kind than in the rows to train on.
        """
        table = as_table(data, self.texts)
        if missing := [column.name for column in self.columns if column.name not in table.columns]:
            there = [name for name in table.columns if name not in {column.name for column in self.columns}]
            raise DatasetError(
                f"{table.name}: has no column {_listed(missing)}, which the network was trained on; rename or add it "
                f"(further columns there: {_listed(there) if there else 'none'})."
            )
        strict = [column.name for column in self.columns if column.fill is None]
        _refuse_missing(table, strict, "the network was trained without: fill them in, or train it with fill='mean'")
        x = np.empty((len(table), sum(column.width for column in self.columns)))
        place = 0
        for column in self.columns:
            values = table.columns[column.name]
            x[:, place : place + column.width] = (
                _ones(table, column) if column.values else _standard(table, column, values)
            )
            place += column.width
        return x.reshape(len(x), *self.picture) if self.picture else x

    def targets(self, data: Any) -> HostArray:
        """Make targets of the label's column: (n,) int64 numbers of classes, or standardised float64.

        Args:
            data: as for `inputs`.

        Raises:
            DatasetError: the label is missing, or not among the classes.
        """
        table = as_table(data)
        if self.label not in table.columns:
            raise DatasetError(f"{table.name}: has no column {self.label!r}, the label.")
        _refuse_missing(table, [self.label], "this is the label: remove these rows")
        values = table.columns[self.label]
        if not self.classes:
            return (_as_numbers(table, self.label) - self.target[0]) / self.target[1]
        number = {name: i for i, name in enumerate(self.classes)}
        texts = [_text(value) for value in values.tolist()]
        for row, text in enumerate(texts):
            if text not in number:
                raise DatasetError(
                    f"{table.name}: column {self.label!r} has {text!r} in {table.place(row)}, expected one of the "
                    f"classes {_listed(self.classes)}."
                )
        return np.array([number[text] for text in texts], np.int64)

    def numbers(self, outputs: HostArray) -> HostArray:
        """Return the label's numbers, (n,) in its own unit, from a network's outputs, (n, 1)."""
        return outputs[:, 0].astype(np.float64) * self.target[1] + self.target[0]

    def further(self, table: Table) -> list[str]:
        """Return the names of a table's columns that are neither inputs nor the label, nor were left out before."""
        known = {self.label, *self.left_out, *(column.name for column in self.columns)}
        return [name for name in table.columns if name not in known]

    @property
    def texts(self) -> list[str]:
        """The columns that are read as texts."""
        return [column.name for column in self.columns if column.values]

    def told(self, note: str = "") -> str:
        """Tell what was made of the columns, for people.

        Args:
            note: what was noticed before.
        """
        label = f"label {self.label}" + ("" if self.classes else ", a number")
        left_out = f"left out: {_listed(self.left_out)}" if self.left_out else ""
        return "; ".join(part for part in (label, left_out, note) if part)

    def config(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Preparation":
        """Make what `config` described."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in config.items()
        }
        values["columns"] = tuple(
            Column(**{**column, "values": tuple(column["values"])}) for column in config["columns"]
        )
        return cls(**values)


def prepare(
    table: Table,
    rows: HostArray,
    *,
    label: str = "",
    categories: Sequence[str] = (),
    fill: "str | float | None" = None,
    drop: Sequence[str] = (),
    loss: str = "",
    picture: "tuple[int, int] | None" = None,
    turned: bool = False,
) -> Preparation:
    """Find how a table's columns become inputs and targets.

    Args:
        table: the table.
        rows: (m,) numbers of the rows to train on: means, deviations and medians are theirs alone.
        label: the column to be predicted; default the one called label, target, class, species or y, else the last one
            if it alone holds text.
        categories: columns that become a column of 0 and 1 for each of their values.
        fill: "mean", "median" or a number, in place of missing ones.
        drop: columns to leave out.
        loss: "cross_entropy" takes the label for classes, "mse" and "huber" for a number; default: texts are classes,
            and whole numbers if they are at most 20 different ones, or 0, 1, 2, ... with ten rows each on average.
        picture: (height, width) of which the inputs are pixels, 0..255; three columns each for coloured ones.
        turned: whether the columns are in the order of pixels of pictures that lie on their side, as EMNIST's do.

    Raises:
        DatasetError: the label is not to be told, a column is neither number nor category, or values are missing.
        InputError: a name is no column, or a setting is unknown.
    """
    label = _label(table, label)
    for name in (*categories, *drop):
        if name not in table.columns:
            raise unknown(f"column of {table.name}", name, table.columns)
        if name == label:
            raise InputError(f"{name}: is the label of {table.name}, and cannot be an input or left out as well.")
    fill = _fill(fill)
    classes = label_classes(table, label, loss)
    others = [name for name in table.columns if name != label]
    left_out = [name for name in others if name in drop or (name not in categories and _no_input(table, name))]
    names = [name for name in others if name not in left_out]
    if not names:
        raise DatasetError(f"{table.name}: has no columns beside the label {label!r}; expected some to learn from.")
    _refuse_texts(table, [name for name in names if name not in categories])
    if fill is None:
        _refuse_missing(table, names)
    columns = tuple(_column(table, name, rows, name in categories, fill, picture is not None) for name in names)
    shape = () if picture is None else _picture(table, columns, picture)
    if turned and len(shape) == 2:
        columns = tuple(columns[i] for i in np.arange(len(columns)).reshape(shape[::-1]).T.ravel())
    target = (0.0, 1.0)
    if not classes:
        _refuse_missing(table, [label], "this is the label: remove these rows")
        target = _moments(_as_numbers(table, label)[rows])
    return Preparation(label, columns, classes, target, tuple(left_out), shape)


# The label ------------------------------------------------------------------------------------------------------------


def _label(table: Table, label: str) -> str:
    if label:
        if label not in table.columns:
            raise unknown(f"column of {table.name}", label, table.columns)
        return label
    named = [name for name in table.columns if name.lower() in LABELS]
    if len(named) == 1:
        return named[0]
    texts = [name for name, values in table.columns.items() if values.dtype.kind == "O"]
    last = list(table.columns)[-1]
    if not named and texts == [last] and len(table.columns) > 1:
        return last
    why = f"columns {_listed(named)} could all be the label" if named else "no column is called label, target or class"
    raise DatasetError(
        f"{table.name}: {why}; say which one is to be predicted: label=NAME (--label NAME), one of "
        f"{_listed(list(table.columns), 30)}. {see('tables')}"
    )


def label_classes(table: Table, label: str, loss: str) -> tuple[str, ...]:
    """Return the names of a label's classes; none if it is a number.

    Args:
        table: has the label.
        label: the column.
        loss: as for `prepare`.
    """
    known = (*AS_CLASSES, *AS_NUMBERS)
    if loss and loss not in known:
        raise unknown("loss for a table", loss, known)
    values = table.columns[label]
    if values.dtype.kind == "M":
        raise DatasetError(f"{table.name}: the label {label!r} holds dates; make numbers or texts of them first.")
    if loss in AS_NUMBERS:
        if values.dtype.kind == "O":
            raise DatasetError(
                f"{table.name}: the label {label!r} holds texts, such as {_first(values)!r}; {loss} takes numbers."
            )
        return ()
    _refuse_missing(table, [label], "this is the label: remove these rows")
    if values.dtype.kind == "O":
        found = tuple(sorted(set(values.tolist())))
    else:
        numbers, counts = np.unique(values, return_counts=True)
        if not loss and not _are_classes(numbers, counts):
            return ()
        found = tuple(map(_text, numbers.tolist()))
    if len(found) < 2:
        raise DatasetError(
            f"{table.name}: the label {label!r} is {found[0]!r} in every row, expected at least two classes."
        )
    if len(found) > len(table) / 2 and len(found) > _FEW:
        raise DatasetError(
            f"{table.name}: the label {label!r} has {len(found)} different values in {len(table)} rows, too many for "
            "classes; choose another label (--label NAME)."
        )
    return found


def _are_classes(numbers: HostArray, counts: HostArray) -> bool:
    """Return whether the different numbers of a label are classes."""
    if not (np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()):
        return False
    gapless = bool((numbers == np.arange(len(numbers))).all() and counts.mean() >= _EACH)
    return len(numbers) <= _FEW or gapless


# The inputs -----------------------------------------------------------------------------------------------------------


def _no_input(table: Table, name: str) -> bool:
    """Return whether a column has no name, holds nothing, is called id, or counts the rows under such a name."""
    values, low = table.columns[name], name.strip().lower()
    if low == "id" or low.startswith("unnamed") or (values.dtype.kind == "f" and bool(np.isnan(values).all())):
        return True
    counter = (
        low in ("index", "row", "no", "nr", "rownames") or low.endswith(("_id", " id")) or name.endswith(("Id", "ID"))
    )
    return counter and values.dtype.kind == "f" and len(values) > 1 and bool((np.diff(values) == 1).all())


def _refuse_texts(table: Table, names: Sequence[str]) -> None:
    """Raise for columns of texts and dates; true and false are numbers."""
    dates = [name for name in names if table.columns[name].dtype.kind == "M" or _is_date(table.columns[name])]
    texts = [name for name in names if name not in dates and not _is_number(table.columns[name])]
    if dates:
        raise DatasetError(
            f"{table.name}: column {_listed(dates)} holds dates, such as {_first(table.columns[dates[0]])}; make "
            f"numbers of them (days since a day, the month), or leave them out: drop={dates} (--drop {_flag(dates)})."
        )
    if texts:
        raise DatasetError(
            f"{table.name}: expected numbers, but column {'; '.join(_example(table, name) for name in texts[:5])}. For "
            f"a column of 0 and 1 for each text: categories=[...] (--categories {_flag(texts[:5])}); to leave columns "
            f"out: drop=[...] (--drop ...); a few texts among numbers are to be cleaned, or emptied and filled. "
            f"{see('tables')}"
        )


def _refuse_missing(table: Table, names: Sequence[str], cure: str = "") -> None:
    """Raise if values are missing in one of the columns."""
    gaps = {}
    for name in names:
        missing = _missing(table.columns[name])
        if missing.any():
            gaps[name] = f"{name} in {missing.sum()} of {len(table)} rows (first in {table.place(np.argmax(missing))})"
    if gaps:
        raise DatasetError(
            f"{table.name}: values are missing: {_listed(list(gaps.values()))}; {cure or _cure(list(gaps))}. "
            f"{see('tables')}"
        )


def _cure(names: list[str]) -> str:
    return (
        "fill them by fill='mean', 'median' or a number (--fill mean), leave the columns out by drop=[...] "
        f"(--drop {_flag(names[:8])}), or remove these rows"
    )


def _fill(fill: Any) -> "str | float | None":
    if fill is None or fill == "" or fill in FILLS:
        return fill or None
    if not isinstance(fill, str | int | float) or isinstance(fill, bool):
        raise InputTypeError(f"fill: got {fill!r}, expected 'mean', 'median' or a number.")
    try:
        number = float(fill)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"fill: got {fill!r}, expected mean, median or a number.")
    return number


def _column(table: Table, name: str, rows: HostArray, category: bool, fill: Any, pixel: bool) -> Column:
    values = table.columns[name]
    if category:
        found = sorted(set(values[~_missing(values)].tolist()))
        if len(found) > _MOST:
            raise DatasetError(
                f"{table.name}: column {name!r} has {len(found)} different values, too many for a column each (at most "
                f"{_MOST}); leave it out: drop={[name]} (--drop {name})."
            )
        return Column(name, tuple(map(_text, found)), fill=None if fill is None else 0.0)
    numbers = _as_numbers(table, name)[rows]
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        raise DatasetError(
            f"{table.name}: column {name!r} has no values in the rows to train on; drop it (--drop {name})."
        )
    instead = None if fill is None else float(getattr(np, fill)(known)) if fill in FILLS else float(fill)
    if pixel:
        return Column(name, std=255.0, fill=instead)
    mean, std = _moments(known if instead is None else np.where(np.isnan(numbers), instead, numbers))
    return Column(name, (), mean, std, instead)


def _moments(numbers: HostArray) -> tuple[float, float]:
    """Return mean and standard deviation; 1 for the deviation of equal numbers."""
    mean, std = float(numbers.mean()), float(numbers.std())
    return mean, std if std > 1e-12 * max(1.0, abs(mean)) else 1.0


def _picture(table: Table, columns: Sequence[Column], size: "tuple[int, int]") -> tuple[int, ...]:
    """Return the shape of the pictures whose pixels are in columns."""
    pixels, width = size[0] * size[1], sum(column.width for column in columns)
    if width not in (pixels, 3 * pixels):
        raise InputError(
            f"image_size: got {size[0]}x{size[1]}, but {table.name} has {width} columns beside the label; expected "
            f"{pixels}, a pixel each, or three times as many."
        )
    return size if width == pixels else (*size, 3)


def _standard(table: Table, column: Column, values: HostArray) -> HostArray:
    numbers = _as_numbers(table, column.name)
    if column.fill is not None:
        numbers = np.where(np.isnan(numbers), column.fill, numbers)
    return ((numbers - column.mean) / column.std)[:, None]


def _ones(table: Table, column: Column) -> HostArray:
    """Return a column of 0 and 1 for each value."""
    texts = np.array([_text(value) for value in table.columns[column.name].tolist()], object)
    ones: HostArray = texts[:, None] == np.array(column.values, object)
    unseen = ~ones.any(axis=1) & ~_missing(table.columns[column.name])
    if unseen.any():
        row = int(np.argmax(unseen))
        raise DatasetError(
            f"{table.name}: column {column.name!r} has {texts[row]!r} in {table.place(row)}, expected one of "
            f"the values trained on: {_listed(column.values)}."
        )
    return ones


def _as_numbers(table: Table, name: str) -> HostArray:
    """Return a column as numbers, NaN where they are missing; raise for texts, and for infinite ones."""
    values = table.columns[name]
    if not _is_number(values):
        raise DatasetError(
            f"{table.name}: column {_example(table, name)}; expected numbers, as in the rows to train on."
        )
    if values.dtype.kind == "O":
        return np.array([np.nan if value is None else value.lower() == "true" for value in values.tolist()], np.float64)
    if np.isinf(values).any():
        raise DatasetError(
            f"{table.name}: column {name!r} is infinite in {table.place(np.argmax(np.isinf(values)))}; clean the data."
        )
    return values


# What values are ------------------------------------------------------------------------------------------------------


def _is_number(values: HostArray) -> bool:
    """Return whether values are numbers, or texts that are true and false alone."""
    if values.dtype.kind == "O":
        return all(value is None or value.lower() in _BOOLS for value in values.tolist())
    return values.dtype.kind == "f"


def _is_date(values: HostArray) -> bool:
    return values.dtype.kind == "O" and bool(_DATE.match(_first(values) or ""))


def _missing(values: HostArray) -> HostArray:
    if values.dtype.kind == "O":
        return np.array([value is None for value in values.tolist()], bool)
    return np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)


def _first(values: HostArray) -> Any:
    return next((str(value) for value in values[~_missing(values)].tolist()), None)


def _text(value: Any) -> str:
    """Return a value as the name of a class: whole numbers without a point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _example(table: Table, name: str) -> str:
    """Tell which texts are in a column, and how many."""
    values = table.columns[name]
    if values.dtype.kind != "O":
        return f"{name!r} holds dates"
    wrong = [row for row, value in enumerate(values.tolist()) if value is not None and not _parses(value)]
    first = wrong[0] if wrong else 0
    return (
        f"{name!r} holds text in {len(wrong)} of {len(values)} rows, such as {values[first]!r} ({table.place(first)})"
    )


def _parses(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def _flag(names: Sequence[str]) -> str:
    text = ",".join(names)
    return f"'{text}'" if " " in text else text
