"""A backend as a third party would write it: it imports nothing of nnx."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class ToyBackend:
    """The required members over NumPy, and two operations of its own."""

    name = "toy"
    xp = np

    @classmethod
    def unavailable(cls) -> str | None:
        return None

    def to_device(self, host: Array, /) -> Array:
        return host

    def to_host(self, array: Array, /) -> Array:
        return np.asarray(array)

    def matmul(self, a: Array, b: Array, /, *, out: Array | None = None) -> Array:
        return np.matmul(a, b, out=out)

    def synchronize(self) -> None:
        pass

    def device_info(self) -> dict[str, str]:
        return {"device": "CPU", "numpy": np.__version__}

    # Optional: everything else would be composed of the members above.

    def sum_squares(self, x: Array) -> Array:
        return np.sum(x * x)

    def activation(self, formula: Any, x: Array, *, out: Array | None = None) -> Array:
        if x.dtype != np.float32 or formula.name != "relu":
            return NotImplemented  # declined, before anything is written: nnx composes it
        return np.maximum(x, 0, out=out)
