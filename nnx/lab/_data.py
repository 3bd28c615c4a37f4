"""What an experiment is run on: a data set in any form, in its parts."""

import os
from typing import Any

import numpy as np

from ..checks import as_host, check_labels
from ..datasets import Dataset, Splits, load
from ..errors import InputError, InputTypeError


def as_splits(data: Any, seed: int = 0) -> Splits:
    """Parts to train on, to validate and to test.

    data: a data set's name or folder, a `Dataset`, its `Splits`, or a pair of arrays (x, t) with labels t. What is not
    split is: a fifth to test, a tenth of the rest to validate; `seed` decides which rows.
    """
    if isinstance(data, str | os.PathLike):
        return load(data, seed=seed)
    if isinstance(data, Splits):
        return data
    if isinstance(data, tuple | list) and len(data) == 2:
        x, t = as_host("x", data[0]), as_host("t", data[1])
        t = check_labels("t", t, max(int(t.max(initial=0)) + 1, 1) if t.dtype.kind in "iu" else 1)
        classes = tuple(map(str, range(int(t.max(initial=0)) + 1)))
        data = Dataset("data", x if x.dtype == np.uint8 else x.astype(np.float32), t, 1.0, classes)
    if not isinstance(data, Dataset):
        raise InputTypeError(f"data: got {data!r}, expected a name or folder, a Dataset, Splits, or a pair (x, t).")
    if len(data) < 10:
        raise InputError(f"data: got {len(data)} rows, expected at least 10 to split into parts.")
    rest, test = data.split(0.8, 0.2, seed=seed)
    train, validation = rest.split(0.9, 0.1, seed=seed)
    return Splits(train, validation, test)
