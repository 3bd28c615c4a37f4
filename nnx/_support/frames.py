"""Tables with named columns, of whatever library (pandas, polars, Arrow, NumPy's structured arrays), as arrays."""

import datetime
import decimal
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from ..errors import InputError, InputTypeError
from ..ops import HostArray
from .pages import see

_CATEGORIES = ("category", "categorical", "enum", "dictionary")
"""How the dtypes of categories begin: pandas', polars' two, Arrow's."""
_MISSING = ("NAType", "NaTType")  # pandas' own, which equal nothing, not even themselves
_SHOWN = 5  # columns that a message names
TEXT = (
    " Numbers that are text are converted by .astype(float); labels may be names in fit and evaluate, one for each row."
)
"""What to do about text, for messages."""


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    kind: str
    """"numbers", "text", "categories", "dates" or "objects"; what is missing is of every kind."""
    values: HostArray
    """(n,): bool, integers or floats with NaN for what is missing; of other kinds whatever the table holds."""
    missing: int
    """How many values are missing; of numbers NaN is."""
    example: str
    """The first value that is there, for messages."""


def is_frame(value: Any) -> bool:
    """Return whether this is a table: rows of named columns that may differ in dtype."""
    if isinstance(value, np.ndarray):
        return value.dtype.names is not None
    return hasattr(value, "shape") and hasattr(value, "columns") and hasattr(value, "__getitem__")


def names(frame: Any) -> tuple[str, ...]:
    """Return the names of a table's columns; () if they are no text, as those that pandas numbers by itself."""
    found = _names(frame)
    return tuple(found) if all(isinstance(name, str) for name in found) else ()


def _names(frame: Any) -> list[Any]:
    if isinstance(frame, np.ndarray):
        return list(frame.dtype.names or ())
    return list(frame.column_names if hasattr(frame, "column_names") else frame.columns)


def columns(frame: Any) -> list[Column]:
    """Return the columns of a table, in their order."""
    by_place = hasattr(frame, "iloc")  # pandas allows two columns of one name
    return [column(str(name), frame.iloc[:, i] if by_place else frame[name]) for i, name in enumerate(_names(frame))]


def column(name: str, values: Any) -> Column:
    """Tell what a column holds.

    Args:
        name: of the column.
        values: (n,), an array or a column of any library.
    """
    dtype = str(getattr(values, "dtype", getattr(values, "type", ""))).lower()
    array = np.asarray(values)
    if array.ndim != 1:  # a column of arrays
        return Column(name, "objects", array, 0, str(array[0]) if array.size else "")
    kind, gone = _KINDS.get(array.dtype.kind, "objects"), np.zeros(len(array), bool)
    if array.dtype.kind == "O":
        gone = np.fromiter(map(_is_missing, array), bool, len(array))
        kind, array = _of_objects(array, gone)
    if array.dtype.kind in "fmM":
        gone = np.isnan(array)
    if dtype.startswith(_CATEGORIES):
        kind = "categories"
    there = np.flatnonzero(~gone)
    example = str(array[there[0]]) if len(there) else ""
    return Column(name, kind, array, int(gone.sum()), example)


_KINDS = dict.fromkeys("biuf", "numbers") | dict.fromkeys("US", "text") | dict.fromkeys("mM", "dates")


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in _MISSING:
        return True
    return isinstance(value, float | np.floating | decimal.Decimal) and value != value


def _of_objects(array: HostArray, gone: HostArray) -> tuple[str, HostArray]:
    """Return the kind of Python objects, and numbers among them as an array of numbers."""
    there = array[~gone].tolist()
    if all(isinstance(value, Real | decimal.Decimal | np.bool_) for value in there):
        if len(there) == len(array) and all(isinstance(value, bool | np.bool_) for value in there):
            return "numbers", array.astype(bool)
        if len(there) == len(array) and all(isinstance(value, Integral) and abs(int(value)) < 2**63 for value in there):
            return "numbers", array.astype(np.int64)
        numbers = np.full(array.shape, np.nan)
        numbers[~gone] = [float(value) for value in there]
        return "numbers", numbers
    if all(isinstance(value, str | bytes) for value in there):
        return "text", array
    if all(isinstance(value, datetime.date | datetime.timedelta | np.datetime64) for value in there):
        return "dates", array
    return "objects", array


def numbers(name: str, frame: Any, expected: Sequence[str] = ()) -> HostArray:
    """Return a table as one array, (n, columns), in the dtype that holds all columns; NaN is what is missing.

    Args:
        name: the table's, for messages.
        frame: the table; or an array of Python objects, (n, ...).
        expected: names of the columns; the table may have them in another order. () takes them as they are.

    Raises:
        InputError: the table has other columns.
        InputTypeError: a column holds no numbers; the message names them all and says what to do.
    """
    if not is_frame(frame):
        return _objects(name, frame)
    order = _order(name, names(frame), expected)
    if (array := _of_one_dtype(frame)) is not None:
        return array if order is None else array[:, order]
    found = columns(frame)
    found = found if order is None else [found[i] for i in order]
    _refuse(name, frame, [one for one in found if one.kind != "numbers"])
    return np.stack([one.values for one in found], axis=1) if found else np.zeros((frame.shape[0], 0))


def _of_one_dtype(frame: Any) -> HostArray | None:
    """Return pandas' own array of a frame whose columns are all of one of NumPy's dtypes of numbers; None of others."""
    dtypes = set(frame.dtypes) if hasattr(frame, "iloc") else ()
    if len(dtypes) == 1 and all(isinstance(one, np.dtype) and one.kind in "fiub" for one in dtypes):
        return np.asarray(frame)
    return None


def _objects(name: str, array: HostArray) -> HostArray:
    """Return an array of Python objects as numbers; columns of a table that came as one array may differ in kind."""
    if array.ndim != 2:
        if array.ndim == 0:
            kind = type(array.item()).__name__
            hint = f" A {kind} is no array: pass rows of numbers, or a table such as a frame of pandas or polars."
            raise InputTypeError(
                f"{name}: got dtype {array.dtype}, expected numbers.{hint if kind != 'NoneType' else ''}"
            )
        one = column("", array.ravel())
        if one.kind != "numbers":
            such = f" (such as {one.example!r})" if one.example else ""
            hint = TEXT if one.kind == "text" else ""
            raise InputTypeError(f"{name}: got dtype {array.dtype}{such}, expected numbers.{hint} {see('interop')}")
        return one.values.reshape(array.shape)
    found = [column(str(i), array[:, i]) for i in range(array.shape[1])]
    _refuse(name, array, [one for one in found if one.kind != "numbers"])
    return np.stack([one.values for one in found], axis=1) if found else np.zeros(array.shape)


def _order(name: str, got: Sequence[str], expected: Sequence[str]) -> list[int] | None:
    """Return the places of the expected columns among those of a table; None for the order that they have."""
    if not got or not expected or list(got) == list(expected):
        return None
    if sorted(got) == sorted(expected) and len(set(got)) == len(got):
        places = {one: i for i, one in enumerate(got)}
        return [places[one] for one in expected]
    missing, extra = [n for n in expected if n not in got], [n for n in got if n not in expected]
    raise InputError(
        f"{name}: the columns are not those that the model was trained on: missing {_listed(missing) or 'none'}, "
        f"unknown {_listed(extra) or 'none'}. Pass those in model.columns, in any order, or an array without names."
    )


def _listed(which: Sequence[str]) -> str:
    shown = ", ".join(map(repr, which[:_SHOWN]))
    return f"{shown} and {len(which) - _SHOWN} more" if len(which) > _SHOWN else shown


def _refuse(name: str, frame: Any, wrong: list[Column]) -> None:
    """Raise for columns that hold no numbers."""
    if not wrong:
        return
    array = isinstance(frame, np.ndarray) and not frame.dtype.names
    told = ", ".join(
        f"{one.name if array else repr(one.name)} ({one.kind}{f', such as {one.example!r}' if one.example else ''})"
        for one in wrong[:_SHOWN]
    )
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    s = "s" if len(wrong) > 1 else ""
    raise InputTypeError(
        f"{name}: expected numbers, got column{s} {told}{more}. {_cure(name, frame, wrong)} {see('interop')}"
    )


def _cure(name: str, frame: Any, wrong: list[Column]) -> str:
    """Say what to do with columns that hold no numbers, in the words of the table's library."""
    library = type(frame).__module__.partition(".")[0]
    every = [one.name for one in wrong]
    cures = []
    if parsed := [one.name for one in wrong if one.kind == "text" and _is_number(one.example)]:
        how = {"pandas": f"pandas.to_numeric({name}[{parsed[0]!r}])", "polars": "cast(polars.Float64)"}
        cures.append(f"convert numbers that are text, as by {how.get(library, 'astype(float)')}")
    if words := [one.name for one in wrong if one.kind in ("text", "categories") and one.name not in parsed]:
        how = {
            "pandas": f": pandas.get_dummies({name}, columns={words})",
            "polars": f": {name}.to_dummies({words})",
        }
        cures.append(f"make a column of 0 and 1 for each class{how.get(library, '')}")
    if days := [one.name for one in wrong if one.kind == "dates"]:
        how = {"pandas": f", as by ({name}[{days[0]!r}] - {name}[{days[0]!r}].min()).dt.days"}
        cures.append(f"make numbers of dates, such as days since the first{how.get(library, '')}")
    drop = {"pandas": f": {name}.drop(columns={every})", "polars": f": {name}.drop({every})"}
    text = "; ".join([*cures, f"{'or ' if cures else ''}leave out what says nothing{drop.get(library, '')}"])
    return f"{text[0].upper()}{text[1:]}."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
