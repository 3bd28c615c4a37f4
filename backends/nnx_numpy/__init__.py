"""The NumPy backend: the reference on any CPU, correct and plain."""

from ._backend import NumpyBackend

__all__ = ["NumpyBackend"]
