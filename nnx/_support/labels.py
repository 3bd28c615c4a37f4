"""Labels as people have them (text, categories, True and False), as the numbers of classes and the classes' names."""

from typing import Any, TypeAlias

import numpy as np

from ..errors import InputError, InputTypeError
from ..ops import HostArray
from . import frames
from .checks import as_array, as_host

Classes: TypeAlias = tuple[Any, ...]
"""Names of the labels 0, 1, ...: text, True and False, or numbers."""

_SHOWN = 10


def numbered(name: str, t: Any, classes: Classes = ()) -> tuple[HostArray, Classes]:
    """Return targets as an array of numbers, and the names of their classes.

    Text becomes the number of its class, in the order of `classes`, or sorted where these are not known; categories
    keep their own order. Numbers stay as they are: they number the classes, unless the classes' names are numbers.

    Args:
        name: the targets', for messages.
        t: (n,) labels, numbers or truth values; (n, c) numbers; or a table of one column, or a column for each class.
        classes: those that are known already, of which no others are taken; () if none are.

    Returns:
        The targets, int64 if they have names; and the classes, () if nothing names them.

    Raises:
        InputError: labels are missing, or none of the known classes.
        InputTypeError: the targets are neither numbers nor names.
    """
    if frames.is_frame(t):
        found = frames.columns(t)
        if len(found) != 1:
            named = frames.names(t)
            return frames.numbers(name, t, classes if set(classes) == set(named) else ()), classes or named
        t = t.iloc[:, 0] if hasattr(t, "iloc") else t[found[0].name]
    if (own := _categories(t)) is not None:
        return _look_up(name, *own, classes)
    array = as_array(name, t)
    if array.dtype.kind == "U" and not isinstance(t, np.ndarray):
        array = np.array(t, object)  # NumPy has made text of whatever stood beside text: None, NaN
    if array.dtype.kind in "US" and array.ndim == 2 and array.shape[1] == 1:
        raise InputError(f"{name}: got labels of shape {array.shape}, expected one dimension: pass {name}.ravel().")
    if array.dtype.kind in "OUS" and array.ndim == 1:
        return _of_text(name, array, classes or _declared(t))
    if array.dtype.kind == "b" and array.ndim == 1:
        return array, classes or (False, True)
    array = as_host(name, array)
    if array.ndim == 1 and array.dtype.kind in "iu" and _are_numbers(classes):
        kept, index = np.unique(array, return_inverse=True)
        return _look_up(name, tuple(kept.tolist()), index, classes)
    return array, classes


def listed(classes: Classes) -> str:
    """Return the classes for a message: "'cat', 'dog'"."""
    return ", ".join(map(repr, classes[:_SHOWN])) + (", ..." if len(classes) > _SHOWN else "")


def as_names(index: HostArray, classes: Classes) -> HostArray:
    """Return the classes of these numbers, in an array of their dtype, or of objects where they differ in type."""
    same = len({type(one) for one in classes}) == 1
    return np.array(classes, None if same else object)[index]


def _categories(t: Any) -> "tuple[Classes, HostArray] | None":
    """Return the categories of pandas' own columns of them, and their numbers, -1 where one is missing."""
    own = getattr(t, "cat", t)
    if not hasattr(own, "categories") or not hasattr(own, "codes"):
        return None
    return tuple(map(_plain, own.categories)), np.asarray(own.codes, np.int64)


def _declared(t: Any) -> Classes:
    """Return the categories that polars' Enum names; those of its Categorical are what the whole process has met."""
    dtype: Any = getattr(t, "dtype", None)
    return tuple(map(_plain, dtype.categories)) if type(dtype).__name__ == "Enum" else ()


def _of_text(name: str, array: HostArray, classes: Classes) -> tuple[HostArray, Classes]:
    one = frames.column(name, array)
    if one.kind == "numbers":
        return numbered(name, one.values, classes)
    if one.kind != "text":
        raise InputTypeError(f"{name}: got {one.kind}, such as {one.example!r}, expected numbers or names of classes.")
    if one.missing:
        gone = np.fromiter((not isinstance(value, str | bytes) for value in array), bool, len(array))
        raise _missing(name, gone)
    text = np.array([value.decode() if isinstance(value, bytes) else str(value) for value in array.tolist()])
    kept, index = np.unique(text, return_inverse=True)
    return _look_up(name, tuple(kept.tolist()), index, classes)


def _look_up(name: str, own: Classes, index: HostArray, classes: Classes) -> tuple[HostArray, Classes]:
    """Return the numbers, among known classes, of labels that are given as numbers among their own ones."""
    if (index < 0).any():
        raise _missing(name, index < 0)
    if not classes:
        return index.astype(np.int64), own
    places = {label: i for i, label in enumerate(classes)}
    new = np.array([places.get(label, -1) for label in own], np.int64)[index]
    if (new < 0).any():
        row = int(np.flatnonzero(new < 0)[0])
        raise InputError(
            f"{name}: got {own[index[row]]!r} in row {row}, which is none of the classes that the model knows: "
            f"{listed(classes)}. Leave such rows out, or train with all classes named by model.classes = (...)."
        )
    return new, classes


def _missing(name: str, gone: HostArray) -> InputError:
    return InputError(
        f"{name}: {gone.sum()} of {len(gone)} labels are missing, the first in row {np.flatnonzero(gone)[0]}; leave "
        "these rows out, or give them a class of their own."
    )


def _are_numbers(classes: Classes) -> bool:
    return bool(classes) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in classes)


def _plain(label: Any) -> Any:
    """Return a label as Python's own text, number or truth value, which a file keeps."""
    label = label.item() if isinstance(label, np.generic) else label
    return label if isinstance(label, str | bool | int | float) else str(label)
