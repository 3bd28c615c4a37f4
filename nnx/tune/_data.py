"""The data of a search: parts to train on and to validate, and the test part, which no trial sees."""

import os
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import datasets
from .._support.checks import as_host
from .._support.labels import numbered
from ..datasets import Dataset, Splits, as_splits, check_enough
from ..errors import InputError, InputTypeError
from ..training import History, Trainer

_EXPECTED = (
    "expected a data set's name, a folder of idx files or images, a Dataset, its Splits, or a pair of arrays (x, t)"
)


@dataclass(frozen=True, repr=False)
class SearchData:
    """The parts as `Trainer.fit` takes them; the test part is for `Study.evaluate_test` alone."""

    name: str
    source: str | None
    """The name or folder that `nnx.datasets.load` knows it by."""
    classes: int | None
    """Number of classes; None for a pair of arrays whose targets have no names, which needs `build`."""
    train: tuple[Any, ...]
    validation: tuple[Any, ...]
    test: tuple[Any, ...]

    @classmethod
    def of(cls, data: Any, seed: int) -> "SearchData":
        """Split the data by the seed as `nnx.datasets.load` does; data that are split already stay as they are."""
        if isinstance(data, str | os.PathLike | Dataset) or _are_data_sets(data):
            splits = as_splits(data, seed)
            source = os.fspath(data) if isinstance(data, str | os.PathLike) else None
            classes = len(splits.train.classes)
            return cls(splits.train.name, source, classes, *((part,) for part in splits))
        if isinstance(data, tuple | list) and len(data) == 2 and not isinstance(data[0], Dataset):
            x, (t, names) = as_host("x", data[0]), numbered("t", data[1])
            if x.ndim < 2 or t.ndim == 0 or len(x) != len(t):
                raise InputError(f"data: got arrays of shapes {x.shape} and {t.shape}, expected as many rows of both.")
            check_enough("data", len(x))
            (x, t), test_pair = datasets.split(x, t, 0.8, 0.2, seed=seed)
            train_pair, validation_pair = datasets.split(x, t, 0.9, 0.1, seed=seed)
            count = len(names) if names and t.ndim == 1 else None
            return cls("arrays", None, count, train_pair, validation_pair, test_pair)
        raise InputTypeError(
            f"data: got {type(data).__name__}, {_EXPECTED}; the search separates the test part by itself."
        )

    def fit(self, trainer: Trainer, epochs: int, batch_size: int, watch: Any) -> History:
        """Train on the training part and validate on the validation part; `watch` is called after every epoch."""
        only = self.validation[0] if len(self.validation) == 1 else self.validation
        return trainer.fit(
            *self.train,
            epochs=epochs,
            batch_size=batch_size,
            validation_data=only,
            callbacks=[watch],
            verbose=False,
        )

    def fingerprint(self) -> str:
        """Return a checksum of all parts with their shapes and dtypes; other data have another one."""
        value = 0
        for part in (self.train, self.validation, self.test):
            arrays = (part[0].x, part[0].t) if len(part) == 1 else part
            for array in map(np.ascontiguousarray, arrays):
                value = zlib.crc32(f"{array.shape} {array.dtype}".encode(), value)
                value = zlib.crc32(array.data if array.size else b"", value)
        return f"{value:08x}"

    def __repr__(self) -> str:
        rows = [len(part[0]) for part in (self.train, self.validation, self.test)]
        return f"{self.name}: {rows[0]} rows to train on, {rows[1]} to validate, {rows[2]} put aside for the test"


def _are_data_sets(data: Any) -> bool:
    return isinstance(data, Splits) and all(isinstance(part, Dataset) for part in data)
