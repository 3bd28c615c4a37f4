"""A data set on the backend's device: uploaded once; batches are gathered and scaled there.

Whole numbers of 8 bits are uploaded as they are.
"""

import zlib
from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np

from .._support.checks import as_floats, as_input, check_finite, check_rows, in_rows, native_floats
from .._support.labels import listed
from ..errors import InputError, InputTypeError
from ..losses import Loss
from ..model import Sequential
from ..ops import Array, HostArray, Ops, dtype_name
from ._order import Order
from ._rows import Rows


class NativeRows:
    """Rows in the backend's memory, of which batches are gathered, and scaled.

    Args:
        ops: the bound operations.
        dtype: of the inputs of a batch.
        x: (n, ...), native: floats of that dtype, or uint8.
        t: (n, ...), native.
        scale: 0-d, native, what uint8 is multiplied by.
        weight: (n,), native, factors of the rows' losses.
    """

    gathers_on_host = False

    def __init__(
        self, ops: Ops, dtype: str, x: Array, t: Array, scale: Array | None = None, weight: Array | None = None
    ) -> None:
        self._ops, self._dtype = ops, dtype
        self.x, self.t, self.scale, self.weight = x, t, scale, weight
        self._batches: dict[int, tuple[Array, ...]] = {}

    def gather(self, index: Array) -> tuple[Array, ...]:
        """Return x, t and, where there are any, weights of the rows of a native int64 index (n,).

        The buffers are overwritten by the next batch of n rows.
        """
        n = index.shape[0]
        if n not in self._batches:
            buffers = [self._buffer(n, self.x, self._dtype), self._buffer(n, self.t, dtype_name(self.t))]
            if self.weight is not None:
                buffers.append(self._buffer(n, self.weight, self._dtype))
            self._batches[n] = tuple(buffers)
        batch = self._batches[n]
        self._ops.take(self.x, index, self.scale, out=batch[0])
        self._ops.take(self.t, index, out=batch[1])
        if self.weight is not None:
            self._ops.take(self.weight, index, out=batch[2])
        return batch

    def _buffer(self, n: int, rows: Array, dtype: str) -> Array:
        shape = (n, *rows.shape[1:])
        return self._ops.xp.reshape(self._ops.allocate(int(np.prod(shape)), dtype), shape)


class Part(NamedTuple):
    """Whole batches, one after another, whose rows are at hand."""

    rows: NativeRows
    places: HostArray
    """(m,) int64, where they are among the rows; only the last batch of an epoch may have fewer than the others."""


class DeviceData(NativeRows):
    """Inputs and targets of a model, checked and uploaded.

    Inputs that lie on the device stay where they are. Errors are raised before anything is uploaded.

    Args:
        model: built.
        loss: checks the targets.
        x: (n, *input_shape), or a table of that many columns, or a `Dataset`, or `Rows`.
        t: the targets of the n rows, as the loss takes them, or labels by name; None for a `Dataset` and `Rows`.
        name: of x, for messages.
        target: of t, for messages.
        finite: whether NaN and infinity are refused; True names `check_finite`, which the caller has; None refuses them
            without.
        weight: (n,), factors of the rows' losses.

    Raises:
        InputError: shapes, labels or values do not fit the model and the loss.
        InputTypeError: a part is no array of numbers, or the targets are missing.
    """

    window: int | None = None
    blocks: int | None = None

    def __init__(
        self,
        model: Sequential,
        loss: Loss,
        x: Any,
        t: Any,
        *,
        name: str,
        target: str,
        finite: bool | None = None,
        weight: HostArray | None = None,
    ) -> None:
        ops = self._ops = model.ops
        rows = x if isinstance(x, Rows) else Rows.of(x, t, name, target, model.columns, model.classes)
        targets, columns = rows.t, rows.columns
        inputs = as_input(ops, name, rows.x)
        check_rows(name, inputs, model.input_shape)
        if targets.ndim == 0 or len(targets) != inputs.shape[0]:
            raise InputError(
                f"{target}: got shape {targets.shape} for {inputs.shape[0]} rows of {name}; expected one per row."
            )
        cure = "pass check_finite=False to train on them as they are" if finite else ""
        if finite is not False:
            self._check_finite(name, inputs, columns, cure)
            check_finite(target, targets, cure=cure)
        check_classes(target, rows, loss, model.output_shape)
        targets = loss.check_targets(target, targets, model.output_shape, model.dtype)
        scale = None
        if dtype_name(inputs) == "uint8":
            scale = ops.to_device(np.array(rows.scale, model.dtype))
        elif isinstance(inputs, np.ndarray):
            inputs = as_floats(name, inputs, model.dtype, columns)
            inputs = inputs if rows.scale == 1.0 else inputs * np.array(rows.scale, model.dtype)
        else:
            inputs = native_floats(ops, name, inputs, model.dtype)
        if finite is not False:
            # Again: on a device, numbers too great for the dtype overflow.
            self._check_finite(name, inputs, columns, cure)
        on_host = isinstance(inputs, np.ndarray)
        inputs = np.ascontiguousarray(inputs) if on_host else in_rows(ops, inputs)
        self._given = inputs, np.ascontiguousarray(targets)
        super().__init__(
            ops,
            model.dtype,
            ops.to_device(inputs) if on_host else inputs,
            ops.to_device(self._given[1]),
            scale,
            None if weight is None else ops.to_device(np.ascontiguousarray(weight, model.dtype)),
        )

    def _check_finite(self, name: str, x: Array, columns: tuple[str, ...], cure: str) -> None:
        ops = self._ops
        if isinstance(x, np.ndarray):
            check_finite(name, x, columns, cure)
        elif ops.xp.isdtype(x.dtype, "real floating") and not bool(ops.xp.all(ops.xp.isfinite(x))):
            check_finite(name, ops.to_host(x), columns, cure)

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def targets(self) -> HostArray:
        """Return all targets, on the host, in the form that the loss takes."""
        return self._given[1]

    def order(self, seed: int, *, shuffle: bool) -> Order:
        """Return the order of the rows: shuffled one by one."""
        return Order(len(self), seed, shuffle=shuffle)

    def parts(self, order: Order, epoch: int, size: int, start: int = 0) -> Generator[Part, None, None]:
        """Go over the rows of an epoch in batches: here they are all at hand, and make one part.

        Args:
            order: of the rows.
            epoch: counted from 0.
            size: the rows of a batch.
            start: the place in the epoch where to begin: that of a whole batch.
        """
        yield Part(self, order.rows(epoch, start, len(self)))

    def checksum(self) -> int:
        """Return the CRC-32 of inputs, targets and weights, by which a continued run recognises its data."""
        value = 0
        for array in (*self._given, *(() if self.weight is None else (self.weight,))):
            host = array if isinstance(array, np.ndarray) else np.ascontiguousarray(self._ops.to_host(array))
            value = zlib.crc32(host.data if host.size else b"", value)
        return value


def check_classes(target: str, rows: Rows, loss: Loss, outputs: tuple[int, ...]) -> None:
    """Raise unless the loss takes labels by name, and the model's outputs are as many as there are classes."""
    if rows.t.ndim == 1 and rows.t.dtype.kind != "b" and rows.classes and loss.metric != "accuracy":
        raise InputTypeError(
            f"{target}: got labels of the classes {listed(rows.classes)}, but {loss!r} takes numbers. To tell classes "
            "apart pass loss='softmax_cross_entropy'; text that is numbers is converted by astype(float)."
        )
    expected = loss.class_count(outputs)
    if expected not in (None, 1, len(rows.classes)) and rows.classes:
        present = len(np.unique(rows.t)) if rows.t.ndim == 1 else 0
        cure = f"end the model with Affine({len(rows.classes)})"
        if len(rows.classes) < expected:
            cure += f", or name all classes beforehand by model.classes = ({listed(rows.classes)}, ...)"
        elif present == expected:
            cure += ", or drop categories without rows, as by cat.remove_unused_categories()"
        raise InputError(
            f"{target}: got {len(rows.classes)} classes, {listed(rows.classes)}, but the model's outputs of shape "
            f"(n, {', '.join(map(str, outputs))}) tell {expected} apart under {loss!r}: {cure}."
        )
