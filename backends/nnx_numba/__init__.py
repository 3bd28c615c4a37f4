"""The Numba backend. Its kernels are not built yet; until they are it says so."""

from typing import Any


class NumbaBackend:
    """NumPy's BLAS for matrix products, Numba-JIT fused kernels for the rest."""

    name = "numba"
    xp: Any = None

    @classmethod
    def unavailable(cls) -> str | None:
        return "its kernels are not built yet in this version of nnx; use NNX_BACKEND=numpy"
