"""A data set on the disk, as a network is trained on it: a window of rows at hand, the next one being read."""

import warnings
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from .._support.checks import as_floats, check_finite, check_rows
from .._support.labels import listed
from ..datasets import DiskDataset, as_disk, counted_from, stays_on_disk
from ..errors import InputError
from ..losses import Loss
from ..model import Sequential
from ..ops import HostArray
from ._device_data import DeviceData, NativeRows, Part, check_classes
from ._order import Order, Window
from ._read_ahead import read_ahead
from ._rows import Rows, names_of

_AT_ONCE = 1 << 24  # bytes that are read between two looks at whether anybody still wants them
_IN_ORDER = 1 << 25  # bytes of a window where nothing is shuffled
_LOOKED_AT = 64  # rows by which data are recognised


class OrderWarning(UserWarning):
    """Rows lie sorted by class on the disk, and a window does not mix them."""


class _Buffer(NamedTuple):
    """Rows on the host: those that the last window has left, and a window."""

    x: HostArray
    t: HostArray
    weight: HostArray | None
    rows: NativeRows | None
    """The same memory, where the backend computes on the host."""


class DiskData:
    """Inputs and targets of a model that are read, checked and converted as they are needed.

    Args:
        model: built.
        loss: checks the targets.
        data: the data set.
        name: of the inputs, for messages.
        target: of the targets, for messages.
        finite: as for `DeviceData`.
        weight: (n,), factors of the rows' losses.
        window: rows that are shuffled together; default the data set's own.

    Raises:
        InputError: shape, classes or the first block do not fit the model and the loss.
        InputTypeError: likewise.
    """

    def __init__(
        self,
        model: Sequential,
        loss: Loss,
        data: DiskDataset,
        *,
        name: str,
        target: str,
        finite: bool | None = None,
        weight: HostArray | None = None,
        window: int | None = None,
    ) -> None:
        self._ops, self._dtype, self._loss, self._data = model.ops, model.dtype, loss, data
        self._outputs, self._name, self._target, self._finite = model.output_shape, name, target, finite
        self.weight = None if weight is None else np.ascontiguousarray(weight, model.dtype)
        wanted = data.window if window is None else window
        self.window = None if wanted >= len(data) else wanted
        """Rows that are shuffled together; None if all are."""
        check_rows(name, np.broadcast_to(np.zeros((), data.dtype), (len(data), *data.shape)), model.input_shape)
        self._edges = data.edges()
        self.blocks = None if self.window is None else len(self._edges) - 1
        """How many blocks the rows are read in; None if all rows are shuffled together."""
        x, t = data.read(0, int(self._edges[1]))
        own = names_of(data.classes)
        if model.classes and own and tuple(own) != tuple(model.classes):
            raise InputError(
                f"{name}: {data.name} has the classes {listed(own)}, but the model knows "
                f"{listed(model.classes)}; pass classes=model.classes to what opens the data."
            )
        check_classes(target, Rows(x, t, data.scale, (), data.classes), loss, model.output_shape)
        self._stored = np.dtype(np.uint8) if data.dtype == np.uint8 else np.dtype(model.dtype)
        self._first = self._checked(0, x, t)[1][:1]
        self._buffers: dict[int, list[_Buffer]] = {}
        self._native: dict[int, NativeRows] = {}
        self._mixed = False

    def __len__(self) -> int:
        return len(self._data)

    def order(self, seed: int, *, shuffle: bool) -> Order:
        """Return the order of the rows."""
        row = max(1, int(np.prod(self._data.shape)) * self._stored.itemsize)
        window = self.window if shuffle else min(max(1, _IN_ORDER // row), len(self))
        return Order(len(self), seed, shuffle=shuffle, blocks=self._edges, window=window)

    def described(self) -> str:
        """Describe for people what is read at once, and what is mixed."""
        if self.window is None:
            return f"{self._data.name}: read from the disk; all rows make one window"
        return f"{self._data.name}: read from the disk in {self.blocks:,} blocks; a window has {self.window:,} rows"

    def targets(self) -> HostArray:
        """Return all targets, on the host, in the form that the loss takes; they are read for it."""
        return self._loss.check_targets(self._target, self._data.targets(), self._outputs, self._dtype)

    def checksum(self) -> int:
        """Return a CRC-32 of some rows, their number and the weights, by which a continued run recognises its data."""
        value = zlib.crc32(f"{len(self)} {self._data.shape} {self._data.dtype}".encode())
        for row in np.unique(np.linspace(0, len(self) - 1, _LOOKED_AT).astype(int)).tolist():
            x, t = self._data.read(row, row + 1)
            value = zlib.crc32(np.ascontiguousarray(t).tobytes(), zlib.crc32(np.ascontiguousarray(x).tobytes(), value))
        return value if self.weight is None else zlib.crc32(self.weight.data, value)

    # What is at hand --------------------------------------------------------------------------------------------------

    def parts(self, order: Order, epoch: int, size: int, start: int = 0) -> Generator[Part, None, None]:
        """Go over the rows of an epoch in batches, a window at a time, while the next one is read.

        Rows of a batch that the next window completes are carried over to it.

        Args:
            order: of the rows, as `order` gives it.
            epoch: counted from 0.
            size: the rows of a batch.
            start: the place in the epoch where to begin: that of a whole batch.
        """
        capacity = min(order.most, len(self)) + size
        if capacity not in self._buffers:
            self._buffers[capacity] = [self._buffer(capacity) for _ in range(2)]
        reader = _Reader(self, start, size)
        with closing(read_ahead(order.windows(epoch, start), reader.read, self._buffers[capacity])) as read:
            for buffer, (places, count) in read:
                self._look(order, buffer.t[:count])
                if len(places):
                    yield Part(self._at_hand(capacity, buffer, count), places)

    def _buffer(self, capacity: int) -> _Buffer:
        empty = self._ops.pinned
        x = empty((capacity, *self._data.shape), self._stored)
        t = empty((capacity, *self._first.shape[1:]), self._first.dtype)
        weight = None if self.weight is None else empty((capacity,), self.weight.dtype)
        return _Buffer(x, t, weight, self._rows(x, t, weight) if self._ops.on_host else None)

    def _rows(self, x: HostArray, t: HostArray, weight: HostArray | None) -> NativeRows:
        ops, scale = self._ops, None
        if self._stored == np.uint8:
            scale = ops.to_device(np.array(self._data.scale, self._dtype))
        if not ops.on_host:
            x, t, weight = ops.to_device(x), ops.to_device(t), None if weight is None else ops.to_device(weight)
        return NativeRows(ops, self._dtype, x, t, scale, weight)

    def _at_hand(self, capacity: int, buffer: _Buffer, count: int) -> NativeRows:
        """Return a buffer's rows as native arrays: on a device they are uploaded, always to the same memory."""
        if buffer.rows is not None:
            return buffer.rows
        if capacity not in self._native:
            self._native[capacity] = self._rows(buffer.x, buffer.t, buffer.weight)
        rows = self._native[capacity]
        pairs = ((rows.x, buffer.x), (rows.t, buffer.t), (rows.weight, buffer.weight))
        for native, host in pairs:
            if host is not None and native is not None:
                native[:count] = self._ops.to_device(host[:count])
        self._ops.backend.synchronize()  # before the thread writes there again
        return rows

    def _look(self, order: Order, t: HostArray) -> None:
        """Warn, at the first window that is shuffled, if it has few of the classes."""
        if self._mixed or not order.shuffled or len(t) >= len(self):
            return
        self._mixed = True
        classes = self._loss.class_count(self._outputs) or 0
        if t.ndim != 1 or t.dtype.kind != "i" or len(t) < 4 * classes:
            return
        found = len(np.unique(t))
        if found <= classes / 2:
            warnings.warn(
                f"{self._target}: {len(t)} rows that are shuffled together have {found} of the {classes} classes: the "
                "file is sorted, and a network forgets what it does not see. Shuffle it once, by nnx shuffle FILE OUT, "
                "or pass a larger window.",
                OrderWarning,
                stacklevel=2,
            )

    # What the thread does ---------------------------------------------------------------------------------------------

    def _checked(self, begin: int, x: HostArray, t: HostArray) -> tuple[HostArray, HostArray]:
        """Return a block of rows as the loss and the kernels take them."""
        with counted_from(begin):
            if self._finite is not False:
                cure = "pass check_finite=False to train on them as they are" if self._finite else ""
                check_finite(self._name, x, cure=cure)
                check_finite(self._target, t, cure=cure)
            t = self._loss.check_targets(self._target, t, self._outputs, self._dtype)
            if self._stored != np.uint8:
                x = as_floats(self._name, x, self._dtype)
        return x, t

    def fill(self, buffer: _Buffer, at: int, window: Window, go_on: Callable[[], None]) -> None:
        """Read a window's blocks into a buffer, from the row `at` on.

        Args:
            buffer: is written to.
            at: its first row.
            window: tells the blocks.
            go_on: raises if nobody wants the rows any more.
        """
        direct = self._data.dtype == self._stored
        scale = None
        if self._stored != np.uint8 and self._data.scale != 1.0:
            scale = np.array(self._data.scale, self._dtype)
        step = max(1, _AT_ONCE // max(1, self._data.dtype.itemsize * int(np.prod(self._data.shape))))
        ranges = [
            (begin, min(begin + step, last))
            for first, last in window.blocks.tolist()
            for begin in range(first, last, step)
        ]
        for (begin, end), coming in zip(ranges, [*ranges[1:], None], strict=True):
            go_on()
            if coming is not None:
                self._data.expect(*coming)
            rows = buffer.x[at : at + end - begin]
            try:
                x, t = self._data.read(begin, end, rows if direct else None)
            except Exception as error:
                error.add_note(f"while rows {begin} to {end - 1} of {self._data.name} were read")
                raise
            x, t = self._checked(begin, x, t)
            if not direct:
                rows[...] = x
            if scale is not None:
                rows *= scale
            buffer.t[at : at + end - begin] = t
            if buffer.weight is not None and self.weight is not None:
                buffer.weight[at : at + end - begin] = self.weight[begin:end]
            at += end - begin


class _Reader:
    """Reads one window after another, and carries what makes no whole batch from one buffer to the next."""

    def __init__(self, data: DiskData, start: int, size: int) -> None:
        self._data, self._start, self._size = data, start, size
        self._left: tuple[_Buffer, HostArray] | None = None

    def read(self, window: Window, buffer: _Buffer, go_on: Callable[[], None]) -> tuple[HostArray, int]:
        """Read a window; return where the rows of its whole batches are in the buffer, and how many rows it has."""
        carried = 0
        if self._left is not None:
            other, left = self._left
            carried = len(left)
            for to, given in ((buffer.x, other.x), (buffer.t, other.t), (buffer.weight, other.weight)):
                if to is not None and given is not None:
                    to[:carried] = given[left]
        self._data.fill(buffer, carried, window, go_on)
        new = window.places[max(self._start - window.first, 0) :] + carried
        places = np.concatenate([np.arange(carried), new])
        whole = len(places)
        if window.first + len(window.places) < len(self._data):
            whole -= whole % self._size
        self._left = buffer, places[whole:]
        return places[:whole], carried + len(window.places)


def data_of(model: Sequential, loss: Loss, x: Any, t: Any = None, *, name: str, target: str) -> DeviceData | DiskData:
    """Return data as they are evaluated: uploaded, or read from the disk where they stay there.

    Args:
        model: built.
        loss: checks the targets.
        x: as for `DeviceData`, or what `nnx.datasets.stays_on_disk`.
        t: the targets; None where x brings its own.
        name: of x, for messages.
        target: of t, for messages.
    """
    if isinstance(x, DeviceData | DiskData):
        return x
    if stays_on_disk(x, t):
        return DiskData(model, loss, as_disk(name, target, x, t), name=name, target=target)
    return DeviceData(model, loss, x, t, name=name, target=target)
