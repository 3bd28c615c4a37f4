"""The CuPy backend: fused CUDA kernels on NVIDIA GPUs."""

from ._backend import CupyBackend

__all__ = ["CupyBackend"]
