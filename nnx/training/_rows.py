"""Inputs and targets as they are given, as arrays: tables by columns, labels as numbers of classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._support import arrays as dlpack
from .._support import frames
from .._support.checks import as_host
from .._support.labels import Classes, listed, numbered
from ..datasets import Dataset
from ..errors import InputError, InputTypeError
from ..ops import Array, HostArray, Ops


@dataclass(frozen=True)
class Rows:
    """Inputs and targets, not yet checked against a model. Inputs on a device are left there."""

    x: Array
    t: HostArray
    scale: float
    columns: tuple[str, ...]
    """The names of the inputs' columns; () if nothing names them."""
    classes: Classes
    """The names of the labels 0, 1, ...; () if nothing names them."""

    @classmethod
    def of(cls, x: Any, t: Any, name: str, target: str, columns: Sequence[str] = (), classes: Classes = ()) -> "Rows":
        """Convert what a user gave.

        Args:
            x: an array or a table of any library, or a `Dataset`.
            t: the targets; None for a `Dataset`.
            name: of x, for messages.
            target: of t, for messages.
            columns: the names that the columns of a table must have, in any order; () for any.
            classes: the names that labels must have; () for any.

        Raises:
            InputError: columns or labels are others than those that are known.
            InputTypeError: a part is no array of numbers, or the targets are missing.
        """
        if isinstance(x, Dataset):
            if t is not None:
                raise InputTypeError(f"{target}: a Dataset holds its own targets; leave {target} out.")
            own = names_of(x.classes)
            if classes and own and tuple(map(str, classes)) != own:
                raise InputError(
                    f"{name}: {x.name} has the classes {listed(own)}, but the model knows {listed(classes)}; pass data "
                    "whose labels have the same names in the same order."
                )
            return cls(x.x, x.t, x.scale, tuple(columns), classes or own)
        if t is None:
            raise InputTypeError(f"{target}: got None, expected the targets (only a Dataset brings its own).")
        inputs = x if dlpack.on_device(x) else as_host(name, x, columns)
        named = tuple(columns) or (frames.names(x) if frames.is_frame(x) else ())
        targets, classes = numbered(target, t, classes)
        return cls(inputs, targets, 1.0, named, classes)

    def take(self, ops: Ops, index: HostArray) -> "Rows":
        """Return the rows of these numbers."""
        x = self.x
        x = x[index] if isinstance(x, np.ndarray) else ops.xp.take(x, ops.to_device(index), axis=0)
        return replace(self, x=x, t=self.t[index])


def names_of(classes: Classes) -> Classes:
    """Return the names of a data set's classes; () if they are no more than the labels themselves."""
    return () if tuple(classes) == tuple(map(str, range(len(classes)))) else classes
