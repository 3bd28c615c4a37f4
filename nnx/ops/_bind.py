"""Binding of operations to one backend: each is the backend's own method or the composition, chosen once."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from . import spec
from ._dtypes import BACKEND_DTYPES, register
from .protocol import MEMBERS, Array, Backend, Collective, HostArray, InPython, Pinned, StepsPerCapture, ToHostAll

if TYPE_CHECKING:
    from ._operations import Operations
else:
    Operations = object


@dataclass(frozen=True)
class Explanation:
    """The operations that a backend has itself (fused), those that nnx composes, and how often inputs were declined."""

    backend: str
    fused: tuple[str, ...]
    composed: tuple[str, ...]
    declined: dict[str, int]
    misspelt: dict[str, str] = field(default_factory=dict)
    """Methods of the backend that are no operations, but nearly have the name of one; and that name."""

    def __str__(self) -> str:
        own = f"{len(self.fused)} operation{'s' * (len(self.fused) != 1)} fused"
        rows = [f"backend {self.backend}: {own}, {len(self.composed)} composed"]
        for name in spec.OPERATIONS:
            how = "fused" if name in self.fused else "composed"
            times = self.declined.get(name, 0)
            rows.append(f"  {name:<24}{how}" + (f", declined {times} times" if times else ""))
        return "\n".join([*rows, *(f"  {note}" for note in self.notes())])

    def notes(self) -> list[str]:
        """Return a sentence for each method that is misspelt."""
        return [
            f"it has a method {name!r}, which nothing calls; did you mean the operation {operation}?"
            for name, operation in self.misspelt.items()
        ]


class Ops(Operations):
    """The operations bound to one backend: `ops.affine(x, w, b)`.

    It is made once for each model: no operation is looked up in a call.

    Args:
        backend: an instance, with the members of `nnx.Backend`.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.xp: Any = backend.xp
        self.to_device: Callable[[HostArray], Array] = backend.to_device
        self.to_host: Callable[[Array], HostArray] = backend.to_host
        self.matmul: Callable[..., Array] = backend.matmul
        self.to_host_all: Callable[[Sequence[Array]], list[HostArray]] = (
            backend.to_host_all if isinstance(backend, ToHostAll) else lambda arrays: list(map(self.to_host, arrays))
        )
        self.pinned: Callable[..., HostArray] = backend.pinned if isinstance(backend, Pinned) else np.empty
        self.collectives: Callable[..., Any] = (
            backend.collectives if isinstance(backend, Collective) else lambda rank, size, exchange: None
        )
        self.steps_per_capture = backend.steps_per_capture if isinstance(backend, StepsPerCapture) else 1
        self.records_operations_alone = isinstance(backend, InPython)
        """Whether a captured step is made of operations and of what `in_python` has wrapped."""
        self.in_python: Callable[[Callable[..., Any]], Callable[..., Any]] = (
            backend.in_python if isinstance(backend, InPython) else lambda function: function
        )
        samples = {name: backend.to_device(np.zeros(1, name)) for name in BACKEND_DTYPES}
        self.array_type = type(samples["float32"])
        self.dtypes = {name: array.dtype for name, array in samples.items()}
        """The backend's own dtypes by name: `x.dtype == ops.dtypes["float32"]` holds whatever the library prints."""
        for name, dtype in self.dtypes.items():
            register(name, dtype)
        self.on_host = self.array_type is np.ndarray
        """Whether native arrays are NumPy's: the host's memory is the device's, and reading it waits for nothing."""
        self._declined: Counter[str] = Counter()
        self._fused = tuple(name for name in spec.OPERATIONS if callable(getattr(backend, name, None)))
        for name in spec.OPERATIONS:
            setattr(self, name, self._bind(name))

    if not TYPE_CHECKING:  # to a type checker a name that is not in Operations is an error

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"there is no operation {name!r}; known: {', '.join(spec.OPERATIONS)}")

    def __deepcopy__(self, memo: dict[int, Any]) -> "Ops":
        return self  # there is one instance of a backend in the process

    def __reduce__(self) -> "tuple[Callable[[str], Ops], tuple[str]]":
        return _by_name, (self.backend.name,)

    def _bind(self, name: str) -> Callable[..., Any]:
        function = getattr(spec, name)

        def composed(*args: Any, **kwargs: Any) -> Any:
            return function(self, *args, **kwargs)

        if name not in self._fused:
            return composed
        own = getattr(self.backend, name)
        declined = self._declined

        def fused(*args: Any, **kwargs: Any) -> Any:
            result = own(*args, **kwargs)
            if result is NotImplemented:
                declined[name] += 1
                return composed(*args, **kwargs)
            return result

        return fused

    def explain(self) -> Explanation:
        """Return which operations are fused and which composed, and how often each fused one has declined its input."""
        composed = tuple(name for name in spec.OPERATIONS if name not in self._fused)
        return Explanation(
            self.backend.name, self._fused, composed, dict(self._declined), _misspelt(type(self.backend))
        )


@cache
def _misspelt(backend: type[Backend]) -> dict[str, str]:
    """Find a backend's public methods that nearly have the name of an operation that it lacks."""
    found = {}
    for name in dir(backend):
        if name.startswith("_") or name in (*MEMBERS, *spec.OPERATIONS) or not callable(getattr(backend, name)):
            continue
        near = get_close_matches(name, spec.OPERATIONS, n=1, cutoff=0.85)
        if near and not hasattr(backend, near[0]):
            found[name] = near[0]
    return found


def _by_name(name: str) -> Ops:
    from ..backend import get_backend

    return Ops(get_backend(name))
