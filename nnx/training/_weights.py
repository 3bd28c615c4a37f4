"""Choice of the rows that are trained on, and of their weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._support.checks import as_host, check_number
from ..datasets import Dataset, split_rows
from ..errors import InputError, InputTypeError
from ..losses import Loss
from ..ops import Array, HostArray, Ops


def row_weights(
    loss: Loss, t: HostArray, sample_weight: Any, class_weight: "Mapping[int, float] | str | None"
) -> HostArray | None:
    """Return factors of the rows' losses, (n,) float64: the product of both kinds of weights; None without any.

    Args:
        loss: one of classes, if there are class weights.
        t: (n, ...), as it was given.
        sample_weight: (n,), finite, at least 0, not all 0.
        class_weight: {label: factor} (1 for those left out), or "balanced": n / (classes * rows of the class).

    Raises:
        InputError: weights do not fit the rows, or there are class weights without integer labels.
        InputTypeError: `class_weight` is neither a dictionary nor text.
    """
    weight = None
    if sample_weight is not None:
        weight = as_host("sample_weight", sample_weight).astype(np.float64)
        if weight.shape != t.shape[:1]:
            raise InputError(f"sample_weight: got shape {weight.shape}, expected {t.shape[:1]}, one for each row.")
        wrong = ~(np.isfinite(weight) & (weight >= 0))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(f"sample_weight: got {weight[row]} in row {row}, expected finite numbers of at least 0.")
        if not weight.any():
            raise InputError("sample_weight: got zeros alone; no row would count.")
    if class_weight is None:
        return weight
    if not loss.classes or t.ndim != 1 or t.dtype.kind not in "iu":
        raise InputError(
            f"class_weight: needs integer labels (n,) and a loss of classes, got targets of shape {t.shape} and dtype "
            f"{t.dtype} for {loss!r}; pass sample_weight, a factor for each row."
        )
    by_class = _by_class(t, class_weight)
    return by_class if weight is None else weight * by_class


def _by_class(t: HostArray, class_weight: "Mapping[int, float] | str") -> HostArray:
    labels, index, counts = np.unique(t, return_inverse=True, return_counts=True)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise InputError(
                f"class_weight: got {class_weight!r}, expected 'balanced' or factors as {{label: factor}}."
            )
        factors = len(t) / (len(labels) * counts)
    elif isinstance(class_weight, Mapping):
        if unknown := [label for label in class_weight if label not in labels]:
            raise InputError(
                f"class_weight: got a factor for {unknown[0]!r}, which no row has; labels are "
                f"{', '.join(map(str, labels[:10].tolist()))}{', ...' if len(labels) > 10 else ''}."
            )
        given = {label: check_number(f"class_weight[{label!r}]", w, 0) for label, w in class_weight.items()}
        factors = np.array([given.get(label, 1.0) for label in labels.tolist()])
    else:
        raise InputTypeError(f"class_weight: got {class_weight!r}, expected 'balanced' or a dictionary.")
    return np.asarray(factors, np.float64)[index]


def held_out(
    ops: Ops, x: Any, t: Any, weight: HostArray | None, share: float, seed: int
) -> tuple[tuple[Any, Any, HostArray | None], Any]:
    """Divide data into the rows to train on, (x, t, weight), and the rows kept out, drawn by the seed.

    Args:
        ops: the bound operations.
        x: (n, ...), or a `Dataset`.
        t: (n, ...), or None for a `Dataset`.
        weight: (n,), or None.
        share: of the rows that are kept out, in (0, 1).
        seed: draws them.

    Returns:
        What to train on; and (x, t) or a `Dataset` of what is kept out.

    Raises:
        InputError: a part would have no rows.
    """
    share = check_number("validation_split", share, 0, 1, above=True)
    n = len(x) if isinstance(x, Dataset) else x.shape[0]
    if not 0 < round(n * (1 - share)) < n:
        raise InputError(f"validation_split: {share} of {n} rows leaves a part without rows; pass more rows.")
    kept, out = split_rows(n, (1 - share, share), seed)
    weight = None if weight is None else weight[kept]
    if isinstance(x, Dataset):
        return (x.take(kept), None, weight), x.take(out)
    return (_rows(ops, x, kept), t[kept], weight), (_rows(ops, x, out), t[out])


def _rows(ops: Ops, x: Array, index: HostArray) -> Array:
    return x[index] if isinstance(x, np.ndarray) else ops.xp.take(x, ops.to_device(index), axis=0)
