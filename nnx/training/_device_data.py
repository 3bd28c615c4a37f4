"""A data set on the backend's device: uploaded once; batches are gathered and scaled there.

Whole numbers of 8 bits are uploaded as they are.
"""

import zlib
from typing import Any

import numpy as np

from .._support import arrays as dlpack
from .._support.checks import as_floats, as_host, as_input, check_finite, check_rows, in_rows, native_floats
from ..datasets import Dataset
from ..errors import InputError, InputTypeError
from ..losses import Loss
from ..model import Sequential
from ..ops import Array, HostArray, dtype_name


def as_arrays(x: Any, t: Any, name: str = "x", target: str = "t") -> tuple[Array, HostArray, float]:
    """Return inputs, targets and the inputs' scale, from two arrays or one `Dataset`.

    Inputs on a device are left there.

    Args:
        x: an array of any library, or a `Dataset`.
        t: the targets; None for a `Dataset`.
        name: of x, for messages.
        target: of t, for messages.
    """
    if isinstance(x, Dataset):
        if t is not None:
            raise InputTypeError(f"{target}: a Dataset holds its own targets; leave {target} out.")
        return x.x, x.t, x.scale
    if t is None:
        raise InputTypeError(f"{target}: got None, expected the targets (only a Dataset brings its own).")
    return x if dlpack.on_device(x) else as_host(name, x), as_host(target, t), 1.0


class DeviceData:
    """Inputs and targets of a model, checked and uploaded.

    Inputs that lie on the device stay where they are. Errors are raised before anything is uploaded.

    Args:
        model: built.
        loss: checks the targets.
        x: (n, *input_shape), or a `Dataset`.
        t: the targets of the n rows, as the loss takes them; None for a `Dataset`.
        name: of x, for messages.
        target: of t, for messages.
        finite: whether NaN and infinity are refused.
        weight: (n,), factors of the rows' losses.

    Raises:
        InputError: shapes, labels or values do not fit the model and the loss.
        InputTypeError: a part is no array of numbers, or the targets are missing.
    """

    gathers_on_host = False

    def __init__(
        self,
        model: Sequential,
        loss: Loss,
        x: Any,
        t: Any,
        *,
        name: str,
        target: str,
        finite: bool = True,
        weight: HostArray | None = None,
    ) -> None:
        ops = self._ops = model.ops
        inputs, targets, scale = as_arrays(x, t, name, target)
        inputs = as_input(ops, name, inputs)
        check_rows(name, inputs, model.input_shape)
        if targets.ndim == 0 or len(targets) != inputs.shape[0]:
            raise InputError(
                f"{target}: got shape {targets.shape} for {inputs.shape[0]} rows of {name}; expected one per row."
            )
        if finite:
            self._check_finite(name, inputs)  # in its own dtype; below again, for what overflows in the model's
            check_finite(target, targets)
        targets = loss.check_targets(target, targets, model.output_shape, model.dtype)
        self.scale: Array | None = None
        if dtype_name(inputs) == "uint8":
            self.scale = ops.to_device(np.array(scale, model.dtype))
        elif isinstance(inputs, np.ndarray):
            inputs = as_floats(inputs, model.dtype)
            inputs = inputs if scale == 1.0 else inputs * np.array(scale, model.dtype)
        else:
            inputs = native_floats(ops, name, inputs, model.dtype)
        if finite:
            self._check_finite(name, inputs)
        on_host = isinstance(inputs, np.ndarray)
        inputs = np.ascontiguousarray(inputs) if on_host else in_rows(ops, inputs)
        self._given = inputs, np.ascontiguousarray(targets)
        self.x, self.t = ops.to_device(inputs) if on_host else inputs, ops.to_device(self._given[1])
        self.weight = None if weight is None else ops.to_device(np.ascontiguousarray(weight, model.dtype))
        self._dtype = model.dtype
        self._batches: dict[int, tuple[Array, ...]] = {}

    def _check_finite(self, name: str, x: Array) -> None:
        ops = self._ops
        if isinstance(x, np.ndarray):
            check_finite(name, x)
        elif ops.xp.isdtype(x.dtype, "real floating") and not bool(ops.xp.all(ops.xp.isfinite(x))):
            check_finite(name, ops.to_host(x))

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def targets(self) -> HostArray:
        """Return all targets, on the host, in the form that the loss takes."""
        return self._given[1]

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

    def checksum(self) -> int:
        """Return the CRC-32 of inputs, targets and weights, by which a continued run recognises its data."""
        value = 0
        for array in (*self._given, *(() if self.weight is None else (self.weight,))):
            host = array if isinstance(array, np.ndarray) else np.ascontiguousarray(self._ops.to_host(array))
            value = zlib.crc32(host.data if host.size else b"", value)
        return value
