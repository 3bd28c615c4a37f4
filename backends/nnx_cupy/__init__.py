"""The CuPy backend. Its kernels are not built yet; until they are it says so."""

from typing import Any


class CupyBackend:
    """cuBLASLt with fused epilogues and hand-written CUDA kernels, on NVIDIA GPUs."""

    name = "cupy"
    xp: Any = None

    @classmethod
    def unavailable(cls) -> str | None:
        return "its kernels are not built yet in this version of nnx; use NNX_BACKEND=numpy"
