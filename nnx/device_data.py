"""A data set on the backend's device: uploaded once, whole numbers of 8 bits as they are, batches gathered and scaled
there."""

import zlib
from typing import Any

import numpy as np

from .backend import Array, HostArray
from .checks import as_floats, as_host, check_finite, check_rows
from .datasets import Dataset
from .errors import InputError, InputTypeError
from .losses import Loss
from .model import Sequential


def as_arrays(x: Any, t: Any, name: str = "x", target: str = "t") -> tuple[HostArray, HostArray, float]:
    """Inputs, targets and the inputs' scale, from two arrays or one `Dataset`."""
    if isinstance(x, Dataset):
        if t is not None:
            raise InputTypeError(f"{target}: a Dataset holds its own targets; leave {target} out.")
        return x.x, x.t, x.scale
    if t is None:
        raise InputTypeError(f"{target}: got None, expected the targets (only a Dataset brings its own).")
    return as_host(name, x), as_host(target, t), 1.0


class DeviceData:
    """Inputs and targets of a model, checked and uploaded.

    x: (n, *input_shape); t as the loss takes it. Raises before anything is uploaded.
    """

    def __init__(
        self, model: Sequential, loss: Loss, x: Any, t: Any, *, name: str, target: str, finite: bool = True
    ) -> None:
        host, targets, scale = as_arrays(x, t, name, target)
        check_rows(name, host, model.input_shape)
        if targets.ndim == 0 or len(targets) != len(host):
            raise InputError(
                f"{target}: got shape {targets.shape} for {len(host)} rows of {name}; expected one per row."
            )
        if finite:
            check_finite(name, host)  # in its own dtype; below once more, for what the model's cannot hold
            check_finite(target, targets)
        targets = loss.check_targets(target, targets, model.output_shape, model.dtype)
        ops = self._ops = model.ops
        self.scale: Array | None = None
        if host.dtype == np.uint8:
            self.scale = ops.to_device(np.array(scale, model.dtype))
        else:
            host = as_floats(host, model.dtype)
            host = host if scale == 1.0 else host * np.array(scale, model.dtype)
            if finite:
                check_finite(name, host)
        self._host = np.ascontiguousarray(host), np.ascontiguousarray(targets)
        self.x, self.t = (ops.to_device(array) for array in self._host)
        self._dtype = model.dtype
        self._batches: dict[int, tuple[Array, Array]] = {}

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def gather(self, index: Array) -> tuple[Array, Array]:
        """The rows of a native int64 index (n,), in buffers that the next batch of n rows overwrites."""
        n = index.shape[0]
        if n not in self._batches:
            self._batches[n] = self._buffer(n, self.x, self._dtype), self._buffer(n, self.t, str(self.t.dtype))
        x, t = self._batches[n]
        self._ops.take(self.x, index, self.scale, out=x)
        self._ops.take(self.t, index, out=t)
        return x, t

    def _buffer(self, n: int, rows: Array, dtype: str) -> Array:
        shape = (n, *rows.shape[1:])
        return self._ops.xp.reshape(self._ops.allocate(int(np.prod(shape)), dtype), shape)

    def checksum(self) -> int:
        """CRC-32 of inputs and targets: tells another data set when a run is continued."""
        value = 0
        for array in self._host:
            value = zlib.crc32(array.data if array.size else b"", value)
        return value
