"""A model's parameters on one contiguous buffer, and their gradients on another.

One optimizer launch, one copy or one norm thus covers them all. Views start on 128-byte lines; the padding between them
is zero and stays so. Parameters under weight decay come first.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, unknown
from ..ops import Array, HostArray, Ops, dtype_name

_LINE = 128  # bytes: two cache lines of a CPU, one of a GPU


@dataclass(frozen=True)
class Spec:
    """What a layer declares of one array: a parameter, or (trainable=False) a running statistic."""

    name: str
    shape: tuple[int, ...]
    value: "HostArray | float" = 0.0
    """What it holds at first, if it is not drawn."""
    init: "str | float | None" = None
    """If not None, the initialiser that its values are drawn with."""
    decay: bool = False
    trainable: bool = True


class Views(Mapping[str, Array]):
    """Views on one flat buffer by name, in the order of the layers; `params[name] -= ...` changes them in place."""

    def __init__(self, ops: Ops, layout: "Layout", buffer: Array) -> None:
        self.layout, self.buffer, self._ops = layout, buffer, ops
        self._views = {
            name: ops.xp.reshape(buffer[start : start + math.prod(shape)], shape)
            for name, (start, shape) in layout.places.items()
        }

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def __setitem__(self, name: str, value: Array) -> None:
        """Copy a value of the same shape into the view, in the view's dtype.

        The view itself, which `params[name] -= ...` assigns, is left as it is.
        """
        if name not in self._views:
            raise unknown("parameter", name, self._views)
        view, ops = self._views[name], self._ops
        if value is view:
            return
        shape = tuple(getattr(value, "shape", ()))
        if shape != tuple(view.shape):
            raise InputError(
                f"parameter {name!r}: got a value of shape {shape}, expected {tuple(view.shape)}; parameters keep "
                f"their shape. To fill one with a number write params[{name!r}][...] = number."
            )
        if not isinstance(value, ops.array_type):
            value = ops.to_device(np.ascontiguousarray(value, dtype_name(view)))
        view[...] = value if value.dtype == view.dtype else ops.xp.astype(value, view.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {tuple(v.shape)} {v.dtype}" for name, v in self.items()) + "}"


class Layout:
    """The place of each array on a flat buffer."""

    def __init__(self, specs: Sequence[Spec], dtype: str) -> None:
        line = _LINE // np.dtype(dtype).itemsize
        starts: dict[str, int] = {}
        end = 0
        self.decay = 0
        for spec in sorted(specs, key=lambda s: not s.decay):  # stable: the layers' order within each group
            starts[spec.name] = end
            end += -(-math.prod(spec.shape) // line) * line
            if spec.decay:
                self.decay = end
        self.size = end
        self.places = {spec.name: (starts[spec.name], spec.shape) for spec in specs}

    def span(self, *names: str) -> slice:
        """Return the part of the buffer from the first of these neighbouring arrays to the end of the last."""
        start = min(self.places[name][0] for name in names)
        stop = max(self.places[name][0] + math.prod(self.places[name][1]) for name in names)
        return slice(start, stop)


class Arena:
    """The buffers of one model: parameters and gradients in one layout, running and batch statistics in another."""

    def __init__(self, ops: Ops, specs: Sequence[Spec], dtype: str) -> None:
        self.specs = tuple(specs)
        self.ops, self.dtype = ops, dtype
        self.layout = Layout([s for s in specs if s.trainable], dtype)
        statistics = Layout([s for s in specs if not s.trainable], dtype)
        self.params = self.buffer()
        self.grads = self.buffer()
        self.running, self.batch = (Views(ops, statistics, ops.allocate(statistics.size, dtype)) for _ in range(2))

    def sibling(self) -> "Arena":
        """Return an arena of the same parameters, with gradients and batch statistics of its own."""
        other = copy.copy(self)
        other.grads = self.buffer()
        other.batch = Views(self.ops, self.batch.layout, self.ops.allocate(self.batch.layout.size, self.dtype))
        return other

    def buffer(self) -> Views:
        """Allocate a further zeroed buffer in the layout of the parameters, for gradients or an optimizer's state."""
        return Views(self.ops, self.layout, self.ops.allocate(self.layout.size, self.dtype))
