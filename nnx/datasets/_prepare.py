"""One-hot labels, shuffling and splitting of plain arrays."""

import math

import numpy as np

from .._support.checks import as_host, check_count, check_dtype, check_labels, check_seed
from ..errors import InputError
from ..ops import HostArray


def one_hot(t: HostArray, classes: int | None = None, dtype: str = "float32") -> HostArray:
    """Return rows with a 1 at the label, (n, classes).

    Args:
        t: (n,) integers in 0..classes-1.
        classes: how many; default the greatest label plus 1.
        dtype: "float32" or "float64".

    Raises:
        InputError: a label is out of range, t is not (n,), or it is empty and `classes` is not given.
        InputTypeError: the labels are not integers.
    """
    t = as_host("t", t)
    if t.ndim != 1:
        raise InputError(f"t: got shape {t.shape}, expected (n,) labels.")
    if classes is None:
        if t.size == 0:
            raise InputError("classes: cannot be told from no labels; pass it.")
        # Floats and negative labels are refused below.
        classes = max(int(t.max()) + 1, 1) if t.dtype.kind in "iu" else 1
    labels = check_labels("t", t, check_count("classes", classes)) if t.size else t.astype(np.int64)
    rows = np.zeros((len(t), classes), check_dtype(dtype))
    rows[np.arange(len(t)), labels] = 1
    return rows


def _paired(x: HostArray, t: HostArray) -> tuple[HostArray, HostArray]:
    x, t = as_host("x", x), as_host("t", t)
    if x.ndim == 0 or t.ndim == 0 or len(x) != len(t) or len(x) == 0:
        raise InputError(
            f"x and t: got shapes {x.shape} and {t.shape}, expected as many rows of both, and at least one."
        )
    return x, t


def shuffle(x: HostArray, t: HostArray, seed: int = 0) -> tuple[HostArray, HostArray]:
    """Return copies of both arrays in the same new order of rows.

    Args:
        x: (n, ...).
        t: (n, ...).
        seed: decides the order.

    Raises:
        InputError: x and t differ in rows, or have none.
    """
    x, t = _paired(x, t)
    order = np.random.default_rng(check_seed(seed)).permutation(len(x))
    return x[order], t[order]


def split(x: HostArray, t: HostArray, *fractions: float, seed: int = 0) -> tuple[tuple[HostArray, HostArray], ...]:
    """Split two arrays at random into parts of the same rows.

    `(x_train, t_train), (x_test, t_test) = split(x, t, 0.8, 0.2)`

    Args:
        x: (n, ...).
        t: (n, ...).
        *fractions: the share of each part, greater than 0, in all 1.
        seed: decides which rows go where.

    Returns:
        For each fraction a pair of copies.

    Raises:
        InputError: x and t differ in rows, the fractions do not fit, or a part would be empty.
    """
    x, t = _paired(x, t)
    return tuple((x[rows], t[rows]) for rows in split_rows(len(x), fractions, seed))


def split_rows(n: int, fractions: tuple[float, ...], seed: int) -> list[HostArray]:
    """Draw row numbers for each of the fractions.

    Args:
        n: how many rows there are.
        fractions: the share of each part, greater than 0, in all 1.
        seed: decides which rows go where.

    Returns:
        For each fraction the numbers of its rows, (m,), in random order.

    Raises:
        InputError: the fractions do not fit, or a part would be empty.
    """
    numbers = all(isinstance(f, int | float) and not isinstance(f, bool) and 0 < f <= 1 for f in fractions)
    if not fractions or not numbers or not math.isclose(sum(fractions), 1, abs_tol=1e-9):
        raise InputError(
            f"fractions: got {fractions}, expected numbers greater than 0 that sum to 1, such as 0.8, 0.2."
        )
    ends = [round(n * share) for share in np.cumsum(fractions)]
    parts = np.split(np.random.default_rng(check_seed(seed)).permutation(n), ends[:-1])
    if any(len(part) == 0 for part in parts):
        raise InputError(f"fractions: {n} rows are too few for parts of {fractions}; one would be empty.")
    return parts
