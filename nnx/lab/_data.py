"""The data of an experiment, however they are given."""

import os
from typing import Any, TypeAlias

import numpy as np

from ..checks import as_host, check_seed
from ..datasets import Dataset, Splits, load
from ..errors import DatasetError, InputTypeError

Data: TypeAlias = "str | os.PathLike[str] | Dataset | Splits | tuple[Any, Any]"
"""The name of a data set or a folder, as `nnx.datasets.load` takes it, a `Dataset`, `Splits`, or a pair (x, t)."""

_FEWEST = 10  # rows, of which 7 are to train on, 1 to validate and 2 to test


def as_splits(data: Data, seed: int) -> Splits:
    """The parts to train on, to validate and to test; `seed` decides the rows of each.

    A `Dataset` or a pair, x: (n, ...) numbers taken as they are and t: (n,) integer labels, is split as
    `nnx.datasets.load` does it: a fifth to test, of the rest a tenth to validate. Raises `DatasetError` for one of
    fewer than ten rows or of a single class.
    """
    check_seed(seed)
    if isinstance(data, Splits):
        splits = data
    elif isinstance(data, str | os.PathLike):
        splits = load(data, seed=seed)
    else:
        whole = data if isinstance(data, Dataset) else _from_pair(data)
        if len(whole) < _FEWEST:
            raise DatasetError(
                f"{whole.name}: holds {len(whole)} rows, too few to be split into parts to train on, to validate and "
                f"to test; expected at least {_FEWEST}."
            )
        rest, test = whole.split(0.8, 0.2, seed=seed)
        train, validation = rest.split(0.9, 0.1, seed=seed)
        splits = Splits(train, validation, test)
    if len(splits.train.classes) < 2:
        raise DatasetError(f"{splits.train.name}: has one class, expected at least two to tell apart.")
    return splits


def _from_pair(data: Any) -> Dataset:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise InputTypeError(
            f"data: got {type(data).__name__}, expected a data set's name, a folder, a Dataset, Splits or a pair of "
            "arrays (x, t)."
        )
    x, t = as_host("x", data[0]), as_host("t", data[1])
    x = x if x.dtype == np.uint8 or x.dtype.kind == "f" else x.astype(np.float32)
    labels = range(int(t.max()) + 1) if t.size and t.dtype.kind in "iu" else range(1)
    return Dataset("data", x, t, 1.0, tuple(map(str, labels)))
