"""The Numba backend: NumPy's BLAS for matrix products, fused kernels for the rest. It imports Numba when it is made."""

from ._backend import NumbaBackend

__all__ = ["NumbaBackend"]
