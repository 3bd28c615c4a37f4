"""Checks of arguments, before any kernel runs. Errors say what was got, what was expected and what to do."""

import math
import operator
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, InputTypeError
from ..ops import FLOATS, Array, HostArray, Ops, dtype_name
from . import arrays as dlpack
from . import frames

_HOST_FLOATS = {name: np.dtype(name) for name in FLOATS}


def check_number(name: str, value: Any, least: float, below: float = math.inf, *, above: bool = False) -> float:
    """Return a finite number in [least, below), or with above=True in (least, below), as a float; raise for others."""
    if isinstance(value, bool | str) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputTypeError(f"{name}: got {value!r}, expected a number.")
    number = as_number(value)
    fits = math.isfinite(number) and (number > least if above else number >= least) and number < below
    if not fits:
        low = f"greater than {least}" if above else f"of at least {least}"
        high = "" if below == math.inf else f" and below {below}"
        raise InputError(f"{name}: got {value}, expected a finite number {low}{high}.")
    return number


def as_number(value: Any) -> float:
    """Convert a Python or NumPy number to a float; a whole number beyond all floats becomes infinity."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def check_count(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number of at least `least` as an int; raise for anything else."""
    if isinstance(value, bool):
        raise InputTypeError(f"{name}: got {value!r}, expected a whole number of at least {least}.")
    try:
        count = operator.index(value)
    except TypeError:
        raise InputTypeError(f"{name}: got {value!r}, expected a whole number of at least {least}.") from None
    if count < least:
        raise InputError(f"{name}: got {count}, expected a whole number of at least {least}.")
    return count


def check_dtype(dtype: Any) -> str:
    """Return "float32" or "float64" from a name or a NumPy dtype; raise for anything else."""
    try:
        name = "None" if dtype is None else str(np.dtype(dtype))  # NumPy takes None for float64
    except (TypeError, ValueError, SyntaxError):
        name = repr(dtype)
    if name not in FLOATS:
        raise InputError(f"dtype: got {name}, expected float32 or float64.")
    return name


def check_native(ops: Ops, name: str, array: Any) -> Array:
    """Return `array` if it is of the backend's own type; raise for others."""
    if not isinstance(array, ops.array_type):
        got, expected = (f"{t.__module__}.{t.__qualname__}" for t in (type(array), ops.array_type))
        raise InputTypeError(
            f"{name}: got {got}, but the backend {ops.backend.name!r} computes with {expected}. Convert it with "
            f"nnx.get_backend({ops.backend.name!r}).to_device(...), or choose the other backend."
        )
    return array


def check_float(ops: Ops, name: str, array: Any) -> Array:
    """Return `array` if it is of the backend's own type and of float32 or float64; raise for others."""
    if dtype_name(check_native(ops, name, array)) not in FLOATS:
        hint = f" Whole numbers, such as pixels, are converted by {name}.astype('float32'), or data.inputs()."
        raise InputTypeError(
            f"{name}: got dtype {array.dtype}, expected float32 or float64.{hint * (dtype_name(array)[:3] != 'flo')}"
        )
    return array


def check_flag(name: str, value: Any) -> bool:
    """Return True or False; raise for other values, even those that Python takes for true or false."""
    if not isinstance(value, bool | np.bool_):
        raise InputTypeError(f"{name}: got {value!r}, expected True or False.")
    return bool(value)


def check_list(name: str, value: Any, example: str) -> list[Any]:
    """Return a list, tuple or array of at least one entry as a list; raise for anything else, text included."""
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or len(value) == 0:
        raise InputTypeError(f"{name}: got {value!r}, expected a list such as {example}.")
    return list(value)


def check_path(name: str, value: Any) -> Path:
    """Return text or a path as a `Path`; raise for anything else."""
    if not isinstance(value, str | os.PathLike):
        raise InputTypeError(f"{name}: got {value!r}, expected a path.")
    return Path(value)


def as_host(name: str, value: Any, columns: Sequence[str] = ()) -> HostArray:
    """Convert a list, an array, a table, or anything that NumPy converts to a NumPy array of numbers; refuse text.

    The result shares memory with other libraries' arrays where they allow it; from a device's memory it is a copy.

    Args:
        name: of the value, for messages.
        value: what is converted.
        columns: of a table, which may have them in another order; () for any.
    """
    if type(value) is not np.ndarray:  # as at every step: skip all other checks then
        value = frames.numbers(name, value, columns) if frames.is_frame(value) else as_array(name, value)
    if value.dtype.kind not in "fiub":
        if value.dtype.kind == "O" or value.dtype.names:
            return frames.numbers(name, value, columns)
        hints = {"V": " Convert it to float32 first.", "U": frames.TEXT, "S": frames.TEXT}
        raise InputTypeError(f"{name}: got dtype {value.dtype}, expected numbers.{hints.get(value.dtype.kind, '')}")
    array: HostArray = value
    return array


def as_array(name: str, value: Any) -> HostArray:
    """Convert anything that NumPy converts to an array of any dtype, as `as_host` does."""
    if isinstance(value, np.ma.MaskedArray):
        raise InputTypeError(f"{name}: got a masked array, whose mask would be lost; fill it first, as by .filled(0).")
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "toarray") and not hasattr(value, "__array__"):
        raise InputTypeError(f"{name}: got a sparse {type(value).__name__}, expected a dense array; use .toarray().")
    try:
        return dlpack.to_numpy(value)
    except dlpack.REFUSALS as error:
        narrow = any(kind in dtype_name(value) for kind in ("bfloat16", "float8"))
        hint = " Convert it to float32 first." if narrow else ""
        raise InputTypeError(f"{name}: cannot be made an array of numbers ({error}).{hint}") from None


def as_input(ops: Ops, name: str, value: Any, columns: Sequence[str] = ()) -> Array:
    """Return a native array if `value` is one or the backend can take it from its device; else what `as_host` gives."""
    if isinstance(value, np.ndarray) or ops.on_host:
        return as_host(name, value, columns)
    if isinstance(value, ops.array_type):
        return value
    if dlpack.on_device(value):
        with suppress(*dlpack.REFUSALS):  # from another device: it goes by way of the host
            return in_rows(ops, dlpack.take(ops.xp, value))
    return as_host(name, value, columns)


def in_rows(ops: Ops, x: Array) -> Array:
    """Return a native array in row-major order, as kernels expect it: copied, unless its flags say that it is so."""
    flags = getattr(x, "flags", None)
    if flags is not None and flags.c_contiguous:
        return x
    rows = ops.xp.empty(x.shape, dtype=x.dtype)
    rows[...] = x
    return rows


def native_floats(ops: Ops, name: str, x: Array, dtype: str) -> Array:
    """Convert a native array to a floating dtype."""
    if x.dtype == ops.dtypes[dtype]:
        return x
    if not ops.xp.isdtype(x.dtype, ("bool", "integral", "real floating")):
        raise InputTypeError(f"{name}: got dtype {x.dtype}, expected numbers. Convert it to {dtype} first.")
    return ops.xp.astype(x, ops.dtypes[dtype])


def as_floats(name: str, x: HostArray, dtype: str, columns: Sequence[str] = (), first: int = 0) -> HostArray:
    """Make x C-contiguous and of a floating dtype; raise for finite numbers that are too great for it.

    Args:
        name: of x, for messages.
        x: (n, ...), numbers.
        dtype: "float32" or "float64".
        columns: names of x's columns, for messages.
        first: the number of x's first row, for messages.
    """
    if x.dtype is _HOST_FLOATS[dtype] and x.flags.c_contiguous:
        return x  # as at every step: entering errstate would cost more than all the checks
    try:
        with np.errstate(over="raise"):
            array: HostArray = np.ascontiguousarray(x, dtype)
    except FloatingPointError:
        greatest = np.finfo(dtype).max
        place = np.argwhere(np.isfinite(x) & (np.abs(x) > greatest))[0]
        where = f" in row {first + place[0]}"
        if len(place) == 2:
            where += f", column {columns[place[1]]!r}" if len(columns) == x.shape[1] else f", column {place[1]}"
        raise InputError(
            f"{name}: got {x[tuple(place)]}{where}, expected numbers up to {float(greatest):.3g}, the greatest of "
            f"{dtype}. Scale the data, such as to mean 0 and standard deviation 1, or pass dtype='float64'."
        ) from None
    return array


def check_rows(name: str, x: Array, shape: tuple[int, ...]) -> None:
    """Raise unless x is (n, *shape) with n > 0."""
    if x.shape[1:] != shape or x.ndim == 0:
        hint = ""
        if x.shape == shape:
            hint = f" For a single sample pass {name}[None]."
        elif math.prod(x.shape[1:]) == math.prod(shape):
            hint = f" Reshape it with {name}.reshape(len({name}), {', '.join(map(str, shape))}), or build a new model."
        raise InputError(f"{name}: got shape {x.shape}, expected (n, {', '.join(map(str, shape))}).{hint}")
    if x.shape[0] == 0:
        raise InputError(f"{name}: got no rows, expected at least one.")


def check_finite(name: str, x: HostArray, columns: Sequence[str] = (), cure: str = "") -> None:
    """Raise if x, (n, ...), holds NaN or infinity.

    Args:
        name: the argument's name, for the message.
        x: the data, on the host.
        columns: their names, if they have names: the message tells which are wrong.
        cure: what the caller has in place of cleaning, such as "pass check_finite=False".
    """
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        wrong = ~np.isfinite(x.reshape(len(x), -1))
        rows = np.flatnonzero(wrong.any(axis=1))
        if len(columns) == wrong.shape[1]:
            counts = wrong.sum(axis=0)
            told = [f"{columns[i]!r} ({counts[i]} of {len(x)} rows)" for i in np.flatnonzero(counts).tolist()]
            more = f" and {len(told) - 5} more" if len(told) > 5 else ""
            raise InputError(
                f"{name}: got missing or infinite values in column{'s' if len(told) > 1 else ''} "
                f"{', '.join(told[:5])}{more}, the first being row {rows[0]}. Fill them, as by "
                f"{name}.fillna({name}.median()) in pandas, or leave these rows out."
            )
        raise InputError(
            f"{name}: got NaN or infinite values in {len(rows)} of {len(x)} rows, the first being row {rows[0]}. "
            f"Clean the data{', or ' if cure else ''}{cure}."
        )


def check_seed(seed: Any) -> int:
    """Return a whole number in 0..2**64-1, the key of the random number generators; raise for anything else."""
    value = check_count("seed", seed, 0)
    if value >= 2**64:
        raise InputError(f"seed: got {value}, expected a whole number below 2**64.")
    return value


def check_labels(name: str, t: HostArray, classes: int) -> HostArray:
    """Return labels (n,) as contiguous, writable int64; raise unless they are integers, each in 0..classes-1."""
    if t.dtype.kind == "f" or t.dtype.kind == "b":
        whole = t.dtype.kind == "f" and bool(np.isfinite(t).all()) and bool((t == np.floor(t)).all())
        cure = f"Convert them with {name}.astype(int)." if whole else "Labels number the classes from 0."
        raise InputTypeError(f"{name}: got labels of dtype {t.dtype}, expected integers. {cure}")
    if t.dtype != np.int64 or not (t.flags.c_contiguous and t.flags.writeable and t.flags.aligned):
        if t.dtype == np.uint64 and (t > np.iinfo(np.int64).max).any():
            raise InputError(f"{name}: got the label {t.max()}, expected labels in 0..{classes - 1}.")
        t = np.array(t, np.int64)
    # One maximum over unsigned numbers finds labels below 0, too.
    if t.size and np.maximum.reduce(t.view(np.uint64)) >= classes:
        wrong = np.flatnonzero((t < 0) | (t >= classes))
        hint = f" Labels number the classes from 0: pass {name} - 1." if (t.min(), t.max()) == (1, classes) else ""
        raise InputError(
            f"{name}: got the label {t[wrong[0]]} in row {wrong[0]}, expected labels in 0..{classes - 1} "
            f"(there are {classes} classes).{hint}"
        )
    return t
