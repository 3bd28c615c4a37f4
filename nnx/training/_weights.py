"""Choice of the rows that are trained on, and of their weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._support.checks import as_host, check_number
from .._support.labels import Classes, listed
from ..datasets import split_rows
from ..errors import InputError, InputTypeError
from ..losses import Loss
from ..ops import HostArray, Ops
from ._rows import Rows


def row_weights(
    loss: Loss,
    outputs: tuple[int, ...],
    rows: Rows,
    sample_weight: Any,
    class_weight: "Mapping[Any, float] | str | None",
) -> HostArray | None:
    """Return factors of the rows' losses, (n,) float64: the product of both kinds of weights; None without any.

    Args:
        loss: one of classes, if there are class weights.
        outputs: the shape of the model's outputs without their rows.
        rows: n of them.
        sample_weight: (n,), finite, at least 0, not all 0.
        class_weight: {label or its name: factor} (1 for those left out), or "balanced": n / (classes * rows of the
            class).

    Raises:
        InputError: weights do not fit the rows, or there are class weights without integer labels.
        InputTypeError: `class_weight` is neither a dictionary nor text.
    """
    weight, t = None, rows.t
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
    count = loss.class_count(outputs)
    if not count or t.ndim != 1 or t.dtype.kind not in "iub":
        raise InputError(
            f"class_weight: needs integer labels (n,) and a loss of classes, got targets of shape {t.shape} and dtype "
            f"{t.dtype} for {loss!r}; pass sample_weight, a factor for each row."
        )
    by_class = _by_class(t.astype(np.int64), rows.classes or tuple(range(count)), class_weight)
    return by_class if weight is None else weight * by_class


def _by_class(t: HostArray, classes: Classes, class_weight: "Mapping[Any, float] | str") -> HostArray:
    labels, index, counts = np.unique(t, return_inverse=True, return_counts=True)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise InputError(
                f"class_weight: got {class_weight!r}, expected 'balanced' or factors as {{label: factor}}."
            )
        factors = len(t) / (len(labels) * counts)
    elif isinstance(class_weight, Mapping):
        if unknown := [label for label in class_weight if label not in classes]:
            raise InputError(
                f"class_weight: got a factor for {unknown[0]!r}, which is no label; labels are {listed(classes)}."
            )
        given = {label: check_number(f"class_weight[{label!r}]", w, 0) for label, w in class_weight.items()}
        names = [classes[label] if 0 <= label < len(classes) else None for label in labels]  # others are refused later
        factors = np.array([given.get(name, 1.0) for name in names])
    else:
        raise InputTypeError(f"class_weight: got {class_weight!r}, expected 'balanced' or a dictionary.")
    return np.asarray(factors, np.float64)[index]


def held_out(
    ops: Ops, rows: Rows, weight: HostArray | None, share: float, seed: int
) -> tuple[Rows, HostArray | None, Rows]:
    """Divide rows into those to train on, with their weights, and those kept out, drawn by the seed.

    Args:
        ops: the bound operations.
        rows: all of them.
        weight: (n,), or None.
        share: of the rows that are kept out, in (0, 1).
        seed: draws them.

    Raises:
        InputError: a part would have no rows.
    """
    share = check_number("validation_split", share, 0, 1, above=True)
    n = rows.x.shape[0]
    if not 0 < round(n * (1 - share)) < n:
        raise InputError(f"validation_split: {share} of {n} rows leaves a part without rows; pass more rows.")
    kept, out = split_rows(n, (1 - share, share), seed)
    return rows.take(ops, kept), None if weight is None else weight[kept], rows.take(ops, out)
